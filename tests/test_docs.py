"""The commands in the README and the docs run as they stand, on small videos; files and options named there exist."""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.annotations import read_annotations
from pipeline.annotations.tools.writing import write_for_tool
from pipeline.cli import main
from pipeline.commandline.app import app
from pipeline.commandline.launch import bound_command
from pipeline.synthetic import SyntheticSettings, make_synthetic_dataset
from tests import ROOT
from tests.videos import write_video

PAGES = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
PROSE = sorted(PAGES.keys() - {"commands"})
ORDER = (
    "README",
    "getting-started",
    "your-data",
    "no-labels-yet",
    "without-labels",
    "encoders",
    "pretraining",
    "sola",
    "heads-and-metrics",
    "end-to-end",
    "using-detections",
    "exports-and-imports",
    "large-collections",
    "report",
    "compare",
)

# What keeps a command small and offline; all other words stay as the docs have them.
TOY = ROOT / "tests" / "toy_encoder.py"
ENCODER = f"--encoder {shlex.quote(str(TOY))}:toy"
OTHER_ENCODERS = {
    "--encoder i3d_r50": ENCODER,
    "--encoder i3d_inception --streams rgb,flow": ENCODER,
    "--preset thumos14-i3d": f"--preset thumos14-i3d {ENCODER} --streams rgb",
}
SMALL_SOLA = ["--steps", "2", "--hidden", "8"]
SMALL_HEAD = ["--epochs", "1", "--min-steps-per-epoch", "2", "--head.width", "32"]
SMALL = {
    "extract": ["--precision", "fp32", "--workers", "1"],
    "sola": SMALL_SOLA,
    "train": SMALL_HEAD,
    "pretrain": ["--epochs", "1", "--size", "32", "--batch-size", "4"],
    "plan": ["--precision", "fp32"],
    "stitch": ["--videos", "2", "--seconds", "4"],
    "run": [
        *("--extract.encoder", f"{TOY}:toy", "--extract.precision", "fp32"),
        *(word.replace("--", "--sola.") for word in SMALL_SOLA),
        *(word.replace("--", "--train.") for word in SMALL_HEAD),
    ],
}
PLAN = "scripts/experiments/ablations/receptive_field.toml"
KERNELS = "[[1, 1, 1], [3, 1, 1], [5, 1, 1], [9, 1, 1], [5, 5, 1], [5, 5, 5]]"
SMALL_PLAN = """
sola = {steps = 2, hidden = 8}
train = {epochs = 1, min_steps_per_epoch = 2, head = {width = 16, levels = 2}}
"""
SMALL_COMPARISON = f"""
seeds = [0]
rows = ["sola"]
extract = {{encoder = "{TOY}:toy", precision = "fp32", workers = 1}}
{SMALL_PLAN}"""
# What one page makes and another starts from, in the order of making.
BETWEEN = (
    f"extract videos/ --out features/ {ENCODER}",
    f"extract videos/ --out part1/ --shard 1/2 {ENCODER}",
    f"extract videos/ --out part2/ --shard 2/2 {ENCODER}",
    "sola features/ --out enhanced/",
    "train enhanced/ --annotations annotations.json --out model/",
    "localize enhanced/ --model model/ --out detections.json",
)


def shell_lines(text: str, *, indented: bool = False) -> list[str]:
    """The command lines in the fenced (or indented) shell blocks of a page, continued lines joined."""
    if indented:
        text = "\n".join(re.findall(r"^ {4}(\S.*|    .*)$", text, flags=re.MULTILINE))
    else:
        text = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE))
    text = re.sub(r"\\\n\s*", "", text)
    return [line.split("  #")[0].strip() for line in text.splitlines()]


def commands(page: str) -> list[str]:
    """What follows the program's name on each command line of a page's fenced blocks: these are run."""
    lines = shell_lines(PAGES[page])
    return [line.removeprefix("sola-pipeline ") for line in lines if line.startswith("sola-pipeline ")]


def shown_only(page: str) -> list[str]:
    """The same of its indented blocks: these need a cluster, credentials or hours."""
    lines = "\n".join(shell_lines(PAGES[page], indented=True)).replace('"$SLURM_ARRAY_TASK_ID/64"', "1/64")
    return re.findall(r"^(?:.* -m pipeline|sola-pipeline) (.+)", lines, flags=re.MULTILINE)


def understand(words: list[str]) -> None:
    """Parse a command's words as the program does."""
    bound_command(words)


def call(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def small(line: str) -> list[str]:
    """The words of a documented command, with what keeps it small."""
    for shown, instead in OTHER_ENCODERS.items():
        line = line.replace(shown, instead)
    words = [re.sub(r"\AID\b", Path("ID").read_text(), word) for word in shlex.split(line)]
    extra = list(SMALL.get(words[0], []))
    encodes = words[0] == "extract" or words[:2] in (
        ["localize", "new_video.mp4"], ["localize", "videos/"], ["localize", "rawframes/jump/v_17"],
        ["segment", "videos/"],
    )  # fmt: skip
    if encodes and "--encoder" not in words:
        extra += [*shlex.split(ENCODER), *(SMALL["extract"] if words[0] == "segment" else [])]
    return [*words, *extra]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user has before the first command."""
    folder = tmp_path_factory.mktemp("inputs")
    annotations = make_synthetic_dataset(
        folder / "videos", SyntheticSettings(videos=8, seconds=6.0, height=64, width=64)
    )
    annotations.rename(folder / "annotations.json")
    segments = {name: video.segments for name, video in read_annotations(folder / "annotations.json").videos.items()}
    write_for_tool(segments, folder / "labels.csv")
    first = min((folder / "videos").glob("*.mp4"))
    (folder / "ID").write_text(first.stem, encoding="utf-8")
    shutil.copy(first, folder / "new_video.mp4")
    for label in ("Archery", "Bowling", "Surfing"):
        for group in range(3):
            name = f"v_{label}_g{group:02}_c01.mp4"
            write_video(folder / "clips" / label / name, list(range(60)), Fraction(1, 30), size=(64, 64))
    (folder / "rawframes" / "jump" / "v_17").mkdir(parents=True)
    for number in range(60):
        gray = np.full((48, 64, 3), 4 * number, np.uint8)
        Image.fromarray(gray).save(folder / "rawframes" / "jump" / "v_17" / f"img_{number + 1:05}.jpg")
    (folder / "i3d_features").mkdir()
    np.save(folder / "i3d_features" / "one.npy", np.ones((20, 16), np.float32))
    settings = re.search(r"```toml\n(.*?)```", PAGES["getting-started"], flags=re.DOTALL)
    assert settings
    (folder / "settings.toml").write_text(settings[1], encoding="utf-8")
    text = (ROOT / PLAN).read_text(encoding="utf-8").replace("[0, 1, 2, 3, 4]", "[0]").replace(KERNELS, "[[3, 1, 1]]")
    (folder / PLAN).parent.mkdir(parents=True)
    (folder / PLAN).write_text(f"{SMALL_PLAN}{text}", encoding="utf-8")
    (folder / "comparison.toml").write_text(SMALL_COMPARISON, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def between(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pages start from that an earlier page makes."""
    folder = tmp_path_factory.mktemp("between") / "all"
    shutil.copytree(inputs, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in BETWEEN:
            assert call(small(line)) == 0, line
    return folder


def provide(words: list[str], prepared: Path) -> None:
    """Copy here what the command starts from, unless this page has made it."""
    for before, word in itertools.pairwise(words):
        source, here = prepared / word, Path(word)
        if before != "--out" and word.rstrip("/") and not here.exists() and source.exists():
            (shutil.copytree if source.is_dir() else shutil.copy)(source, here)


@pytest.mark.parametrize("page", ORDER)
def test_commands_of_the_page_run(
    page: str, inputs: Path, between: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copytree(inputs, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    for line in commands(page):
        words = small(line)
        provide(words, between)
        assert call(words) == 0, line


def test_every_page_with_commands_is_run() -> None:
    assert {page for page in PROSE if commands(page)} == set(ORDER)


@pytest.mark.parametrize("line", sorted({line for page in PROSE for line in (*commands(page), *shown_only(page))}))
def test_every_command_shown_is_understood(line: str, inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(inputs)
    understand(shlex.split(line))


def test_every_command_is_shown_somewhere() -> None:
    shown = {line.split()[0] for page in PROSE for line in commands(page)}
    assert shown == {name for name in app if not name.startswith("-")}


def test_an_option_that_does_not_exist_is_not_understood() -> None:
    with pytest.raises(Exception, match="no-such-option"):
        understand(["extract", "a", "--out", "b", "--no-such-option"])


def test_continued_lines_are_joined_and_comments_left_out() -> None:
    page = "```sh\n# say\nsola-pipeline sola a \\\n    --out b  # so\n```\n\n    echo a \\\n        b\n"
    assert shell_lines(page) == ["# say", "sola-pipeline sola a --out b"]
    assert shell_lines(page, indented=True)[-1] == "echo a b"


@pytest.mark.parametrize("page", ["README", "python-api"])
def test_python_of_the_page_runs(page: str, between: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(between)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        exec(block.replace('encoder="i3d_r50"', f'encoder="{TOY}:toy", precision="fp32"'), {})


def test_files_that_the_docs_name_are_there() -> None:
    folders = "scripts|examples|docs|pipeline|encoders|sola|tests|constraints|.ci"
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for page, text in {**PAGES, "CONTRIBUTING": contributing}.items():
        named = re.findall(rf"(?:`|^ {{4}}|(?<= ))((?:{folders})/\w[\w./-]*)", text, flags=re.MULTILINE)
        for name in (name.rstrip(".") for name in named):
            assert (ROOT / name).exists(), f"{page} names {name}"


def test_contributing_names_every_room_and_every_file_beside_them() -> None:
    named = set(re.findall(r"`([\w./-]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    found = [path for path in (ROOT / "pipeline").iterdir() if path.name not in ("__pycache__", "py.typed")]
    assert {f"{path.name}/" if path.is_dir() else path.name for path in found} - named == set()


def test_links_of_the_readme_lead_somewhere() -> None:  # mkdocs checks those of the docs
    for target in re.findall(r"\]\((?!https:)([^)#]+)", PAGES["README"]):
        assert (ROOT / target).is_file(), target


def test_options_that_the_docs_name_exist() -> None:
    known = set(re.findall(r"--[a-z][\w.-]*", PAGES["commands"])) | {"--help", "--version", "--completion"}
    for page in set(PROSE) - {"results", "reproduce"}:  # which name options of the experiments' scripts
        for code in re.findall(r"`([^`\n]*--[^`\n]*)`", PAGES[page]):
            for option in re.findall(r"(?<!\S)--[a-z][\w.-]*", code):
                assert option in known or code.startswith("scripts/"), f"{page} names {option}"


def test_the_readme_is_short() -> None:
    assert len(PAGES["README"].splitlines()) <= 150


def test_the_command_reference_is_current() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "command_reference.py")]
    result = subprocess.run(script, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
