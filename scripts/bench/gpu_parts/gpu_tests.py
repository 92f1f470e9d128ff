"""The tests marked gpu."""

import argparse
import os
import re
import subprocess
import sys

from gpu_parts.packing import ROOT
from gpu_parts.rows import Rows

FILES = ("tests/encoders/test_gpu.py", "tests/encoders/test_features.py", "tests/pipeline/training/test_train_head.py")


def run(options: argparse.Namespace, rows: Rows) -> None:
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "--tb=short", *FILES]
    if options.quick:
        command += ["-k", "sola or suppressed"]  # the others take long on a processor
    # Plugins of other packages on the machine must not interfere.
    environment = {**os.environ, "SOLA_TEST_DEVICE": options.device, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    print(done.stdout, flush=True)
    for test, reason in re.findall(r"^(?:FAILED|ERROR) \S*?::(\S+)(?: - (.*))?$", done.stdout, re.MULTILINE):
        rows.failed(test, reason or "see the log")
    counts = {name: int(count) for count, name in re.findall(r"(\d+) (passed|failed|skipped|errors?)", done.stdout)}
    if done.returncode in (0, 1) and counts:
        rows.add("pytest -m gpu", **{name: count for name, count in counts.items() if name != "failed"})
    else:
        rows.failed("pytest -m gpu", f"exit code {done.returncode}, see the log")
