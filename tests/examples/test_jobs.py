"""The example job files do their work, with stand-ins for the scheduler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.store.feature_store import FeatureStore
from pipeline.synthetic import SyntheticSettings, make_synthetic_dataset
from tests import ROOT

SLURM = ROOT / "examples" / "slurm" / "extract.sbatch"
TOY = ROOT / "tests" / "toy_encoder.py"
KUBERNETES = ROOT / "examples" / "kubernetes" / "extract.yaml"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Commands that the job files call, videos, and a tiny encoder."""
    make_synthetic_dataset(tmp_path / "videos", SyntheticSettings(videos=4, seconds=6.0, height=64, width=64))
    programs = {"srun": 'exec "$@"', "sola-pipeline": f'exec "{sys.executable}" -m pipeline "$@"'}
    for name, line in programs.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/usr/bin/env bash\n{line}\n", encoding="utf-8")
        program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "VIDEOS": str(tmp_path / "videos"),
        "STORE": str(tmp_path / "features"),
        "EXTRACT_OPTIONS": f"--encoder {TOY}:toy --precision fp32 --workers 1",
    }


def check(environment: dict[str, str]) -> None:
    assert len(FeatureStore.open(Path(environment["STORE"])).ids()) == 4


def test_slurm_array(environment: dict[str, str]) -> None:
    for task in (1, 2):
        job = {**environment, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": "2"}
        subprocess.run(["bash", str(SLURM)], env=job, check=True)
    check(environment)


def test_slurm_job_needs_its_folders(environment: dict[str, str]) -> None:
    job = {name: value for name, value in environment.items() if name != "STORE"}
    result = subprocess.run(["bash", str(SLURM)], env=job, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "set STORE to the feature store" in result.stderr


def test_kubernetes_indexed_job(environment: dict[str, str]) -> None:
    job = yaml.safe_load(KUBERNETES.read_text(encoding="utf-8"))
    pod = job["spec"]["template"]["spec"]["containers"][0]
    names = {entry["name"] for entry in pod["env"]}
    assert {"VIDEOS", "STORE", "COMPLETIONS"} <= names
    assert job["spec"]["completions"] == int(next(e["value"] for e in pod["env"] if e["name"] == "COMPLETIONS"))
    for index in (0, 1):
        variables = {**environment, "JOB_COMPLETION_INDEX": str(index), "COMPLETIONS": "2"}
        subprocess.run([*pod["command"], *pod["args"]], env=variables, check=True)
    check(environment)
