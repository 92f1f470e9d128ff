"""Scripts started with a Python without their packages: they re-run in the project's own, or say what to run."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

# gpu brings its own packages.
BENCHMARKS = sorted(
    path.name for path in (ROOT / "scripts" / "bench").iterdir() if path.is_file() and path.name != "gpu"
)
SCRIPTS = [*(f"bench/{name}" for name in BENCHMARKS), "crash_test"]


@pytest.fixture
def scripts(tmp_path):
    """Copy the scripts alone into a project without an environment."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    return tmp_path / "scripts"


def run_bare(script: Path) -> subprocess.CompletedProcess:
    # -S: without installed packages.
    return subprocess.run([sys.executable, "-S", script, "--help"], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_without_its_packages_says_what_to_run_first(scripts, name):
    done = run_bare(scripts / name)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "has no numpy, torch, av" in done.stderr and "run scripts/test once" in done.stderr


def test_it_goes_on_in_the_environment_of_the_project(scripts):
    python = scripts.parent / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "again: $*"\n')
    python.chmod(0o755)
    assert run_bare(scripts / "bench" / "metrics").stdout == f"again: {scripts / 'bench' / 'metrics'} --help\n"
