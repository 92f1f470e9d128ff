"""The example script runs from videos to an evaluation."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline.synthetic import SyntheticSettings, make_synthetic_dataset
from tests import ROOT

TOY = f"{ROOT / 'tests' / 'toy_encoder.py'}:toy"


def test_from_a_folder_to_detections(tmp_path: Path) -> None:
    annotations = make_synthetic_dataset(
        tmp_path / "videos", SyntheticSettings(videos=3, seconds=6.0, height=64, width=64)
    )
    script = ROOT / "examples" / "folder_to_detections.py"
    command = [sys.executable, str(script), str(tmp_path / "videos"), str(annotations), str(tmp_path / "out"), TOY]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "average mAP" in result.stdout
