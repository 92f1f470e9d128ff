"""What a command loads: `--help`, and looking at files, must not wait for networks, decoders or plots."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from encoders.weights import cache_folder
from pipeline.commandline.launch import app
from tests import ROOT
from tests.stores import make_store

HEAVY = ("torch", "torchvision", "pytorchvideo", "matplotlib", "av", "decord", "ray", "cv2", "safetensors", "fsspec")
LIBRARIES = (*HEAVY, "numpy", "jinja2", "urllib.request", "encoders.catalog", "pipeline.annotations.formats")
COMMANDS = [name for name in app if not name.startswith("-")]
STORE_COMMANDS = [f"store {name}" for name in app["store"] if not name.startswith("-")]


def loaded_by(words: list[str], *, code: int = 0) -> set[str]:
    """The heavy modules that a command has loaded when it ends, in an interpreter of its own."""
    script = (
        "import sys\n"
        "from pipeline.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        f"finally:\n    print(*[name for name in {LIBRARIES} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", ["", *COMMANDS, *STORE_COMMANDS])
def test_help_loads_nothing_heavy(words):
    assert loaded_by([*words.split(), "--help"]) == set()


def test_the_version_and_a_wrong_option_load_nothing_heavy():
    assert loaded_by(["--version"]) == set()
    assert loaded_by(["extract", "v", "--out", "o", "--no-such"], code=2) == set()


@pytest.fixture
def files(tmp_path):
    make_store(tmp_path / "s", {"a": np.ones((3, 6), np.float32), "b": np.ones((4, 6), np.float32)})
    segments = [{"segment": [0.2, 1], "label": "run"}]
    database = {"a": {"subset": "training", "duration": 1.5, "annotations": segments}}
    database["b"] = {"subset": "validation", "duration": 2.0, "annotations": segments}
    (tmp_path / "a.json").write_text(json.dumps({"database": database}))
    found = {"results": {"b": [{"segment": [0.2, 1], "label": "run", "score": 0.5}]}}
    (tmp_path / "d.json").write_text(json.dumps(found))
    np.save(tmp_path / "x.npy", np.ones((3, 6), np.float32))
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        "encoders",
        "annotations {}/a.json",
        "evaluate {}/d.json --annotations {}/a.json --diagnose --out {}/e.json",
        "verify {}/s --deep --annotations {}/a.json",
        "status {}/s",
        "store ls {}/s",
        "store stats {}/s",
        "store merge {}/s {}/s --out {}/m",
        "store pack {}/s --out {}/p",
        "export {}/s --annotations {}/a.json --out {}/x --to actionformer",
        "import {}/x.npy --out {}/i --fps 30 --stride-frames 4 --window-frames 16",
    ],
)
def test_what_needs_no_network_loads_none(files, words):
    assert loaded_by([word.format(files) for word in words.split()]).isdisjoint(HEAVY)


def test_a_report_of_detections_loads_no_network_library(files):
    words = ["report", f"{files}/d.json", "--annotations", f"{files}/a.json", "--out", f"{files}/report"]
    assert "torch" not in loaded_by(words)


def test_the_check_sees_what_is_loaded(files):
    picture = ["--errors-plot", str(files / "p.png")]
    assert "matplotlib" in loaded_by(["evaluate", f"{files}/d.json", "--annotations", f"{files}/a.json", *picture])


@pytest.mark.parametrize("moved", ["", "TORCH_HOME", "XDG_CACHE_HOME"])
def test_weights_are_looked_for_where_torch_keeps_them(monkeypatch, tmp_path, moved):
    import torch

    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if moved:
        monkeypatch.setenv(moved, str(tmp_path))
    assert cache_folder() == Path(torch.hub.get_dir()) / "checkpoints"
