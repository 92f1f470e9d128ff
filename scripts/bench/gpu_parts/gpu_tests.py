"""The tests marked gpu, each a row as soon as it is done, so that a cut-off part shows which test it was in."""

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter

from gpu_parts.packing import ROOT
from gpu_parts.rows import Rows

FILES = ("tests/pipeline/training/test_train_head.py", "tests/encoders/test_gpu.py", "tests/encoders/test_features.py")
# These load encoders of all precisions, fill the memory, start processes: tens of seconds, and parts of their own do
# the same at full size.
MEASURED_ELSEWHERE = {"features_are_those_of": "correctness", "full_gpu_halves": "memory", "two_processes": "sharing"}
DONE = re.compile(r"^\S+?::(\S.*?) (PASSED|FAILED|ERROR|SKIPPED)\b")


def run(options: argparse.Namespace, rows: Rows) -> None:
    chosen = " and ".join(f"not {name}" for name in MEASURED_ELSEWHERE)
    if options.quick:
        chosen = "sola or suppressed"  # the others take long on a processor
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "-p", "no:cacheprovider", "--tb=short", "-k", chosen]
    # Plugins of other packages on the machine must not interfere.
    environment = {**os.environ, "SOLA_TEST_DEVICE": options.device, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    counts: Counter[str] = Counter()
    began = time.monotonic()
    with subprocess.Popen(
        [*command, *FILES], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if found := DONE.match(line):
                test, outcome = found[1], found[2].lower()
                counts[outcome] += 1
                if outcome in ("failed", "error"):
                    rows.failed(test, "see the log")
                else:
                    rows.add(test, outcome=outcome, seconds=time.monotonic() - began)
                began = time.monotonic()
    if process.returncode not in (0, 1) or not counts:
        rows.failed("pytest -m gpu", f"exit code {process.returncode}, see the log")
