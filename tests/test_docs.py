"""The commands in the README and the docs run as they stand, on small videos; files named there exist."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.commandline.app import app
from pipeline.synthetic import make_synthetic_dataset
from tests import ROOT
from tests.videos import write_video

PAGES = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
ORDER = (
    "README",
    "getting-started",
    "your-data",
    "encoders",
    "sola",
    "heads-and-metrics",
    "exports-and-imports",
    "large-collections",
)

# What keeps a command small; the words of the docs stay as they are.
SMALL = {
    "extract": ["--precision", "fp32", "--workers", "1"],
    "sola": ["--steps", "2", "--hidden", "8"],
    "train": ["--epochs", "1", "--min-steps-per-epoch", "2", "--head.embed-dim", "32", "--head.levels", "2"],
    "pretrain": ["--epochs", "1", "--size", "32", "--batch-size", "4"],
    "plan": ["--precision", "fp32"],
    "stitch": ["--videos", "2", "--seconds", "4"],
    "run": [
        *("--extract.encoder", "toy.py:toy", "--extract.precision", "fp32", "--sola.steps", "2", "--sola.hidden", "8"),
        *("--train.epochs", "1", "--train.min-steps-per-epoch", "2", "--train.head.embed-dim", "32"),
        *("--train.head.levels", "2"),
    ],
    "ablate": ["--no-head"],
}
# Weights that must be downloaded, or minutes of work: these are parsed, not run.
PARSED_ONLY = ("--preset thumos14-i3d", "i3d_inception", "scripts/experiments/ablations/")

TOY = """
import torch
from encoders.spec import EncoderSpec

class Toy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(192, 16, generator=generator))

    def forward(self, clip):
        return torch.nn.functional.adaptive_avg_pool3d(clip, (1, 8, 8)).flatten(1) @ self.weight

def toy():
    return EncoderSpec(name="toy", version=1, feature_dim=16, num_frames=4, window_frames=16, fps=30.0, short_side=32,
                       crop_size=32, mean=(0.45,) * 3, std=(0.225,) * 3, layout="clip", source="here"), Toy()
"""


def commands(page: str) -> list[str]:
    """The command lines of a page's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGES[page], flags=re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("sola-pipeline")]


def indented(page: str) -> Iterator[str]:
    """Command lines that are shown, but need a cluster or credentials."""
    for line in re.findall(r"^ {4}(?:.*-m pipeline|sola-pipeline) (.*)$", PAGES[page], flags=re.MULTILINE):
        yield line.replace('"$SLURM_ARRAY_TASK_ID/64"', "1/64")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with everything that the docs name."""
    folder = tmp_path_factory.mktemp("docs")
    annotations = make_synthetic_dataset(folder / "videos", videos=6, seconds=8.0, height=64, width=64)
    annotations.rename(folder / "annotations.json")
    first = min((folder / "videos").glob("*.mp4"))
    (folder / "new_video.mp4").write_bytes(first.read_bytes())
    for label in ("Archery", "Surfing"):
        for group in range(4):
            name = f"v_{label}_g{group:02}_c01.mp4"
            write_video(folder / "clips" / label / name, list(range(60)), Fraction(1, 30), size=(64, 64))
    (folder / "i3d_features").mkdir()
    np.save(folder / "i3d_features" / "one.npy", np.ones((20, 16), np.float32))
    (folder / "toy.py").write_text(TOY, encoding="utf-8")
    settings = re.search(r"```toml\n(.*?)```", PAGES["getting-started"], flags=re.DOTALL)
    assert settings
    (folder / "settings.toml").write_text(settings.group(1), encoding="utf-8")
    (folder / "ID").write_text(first.stem, encoding="utf-8")
    return folder


def call(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def small(line: str, folder: Path) -> list[str]:
    """The words of a documented command, with what keeps it small."""
    words = shlex.split(line.replace("--encoder i3d_r50", "--encoder toy.py:toy"))[1:]
    words = [(folder / "ID").read_text() if word == "ID" else word for word in words]
    extra = list(SMALL.get(words[0], []))
    if words[0] == "extract" and "--encoder" not in words:
        extra += ["--encoder", "toy.py:toy"]
    return [*words, *extra]


@pytest.mark.parametrize("page", ORDER)
def test_commands_of_the_page_run(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert commands(page), "no commands on this page"
    for line in commands(page):
        if any(part in line for part in PARSED_ONLY):
            continue
        assert call(small(line, folder)) == 0, line


@pytest.mark.parametrize(
    "line",
    sorted(
        {line.partition(" ")[2] for page in PAGES for line in commands(page)} | {i for p in PAGES for i in indented(p)}
    ),
)
def test_every_command_shown_is_understood(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)


def test_every_command_is_shown_somewhere() -> None:
    shown = {shlex.split(line)[1] for page in PAGES if page != "commands" for line in commands(page)}
    assert shown == {name for name in app if not name.startswith("-")}


def test_an_option_that_does_not_exist_is_not_understood() -> None:
    with pytest.raises(Exception, match="no-such-option"):
        app.parse_args(["extract", "a", "--out", "b", "--no-such-option"], exit_on_error=False, print_error=False)


def test_files_that_the_docs_name_are_there() -> None:
    for page, text in PAGES.items():
        for name in re.findall(r"`((?:scripts|examples|docs|pipeline|encoders|sola|tests)/[\w./-]+)`", text):
            assert (ROOT / name).exists(), f"{page} names {name}"
    for script in re.findall(r"^ {4}(scripts/\w+)", PAGES["README"], flags=re.MULTILINE):
        assert (ROOT / script).is_file()


def test_the_readme_is_short() -> None:
    assert len(PAGES["README"].splitlines()) <= 150


def test_the_command_reference_is_current() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from command_reference import FILE, reference
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    assert FILE.read_text(encoding="utf-8") == reference(), "run scripts/docs --update"
