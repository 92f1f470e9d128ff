"""Pack a folder for a machine without a network (wheels, the project, videos), and install from it."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WHEELS, VIDEOS, PROJECT = "wheels", "videos", "project.tar.gz"
MOST_MEGABYTES = 60

# The machine has torch, torchvision and NumPy, and with them Jinja2 and Pillow. No part draws, or decodes with decord.
LEFT_OUT = ("torch", "torchvision", "numpy", "jinja2", "pillow", "matplotlib", "decord", "tomli")
# What the project's needs need in turn, and pytest for the tests.
NEEDS_OF_NEEDS = (
    "attrs", "docstring-parser>=0.15,<4", "rich-rst>=2.0.1,<3", "markdown-it-py>=2.2", "mdurl", "pygments",
    "fvcore", "iopath", "yacs", "pyyaml", "tqdm", "termcolor", "tabulate", "portalocker", "parameterized",
    "pytest>=8", "iniconfig", "pluggy", "packaging",
)  # fmt: skip
SOURCES_ONLY = ("pytorchvideo", "fvcore", "iopath")  # no wheels on the index; pure Python
GLIBC = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux2010", "manylinux1")


def pack(folder: Path) -> None:
    """Make the folder from scratch, with pip and a package index."""
    (folder / WHEELS).mkdir(parents=True, exist_ok=True)
    for wheel in (folder / WHEELS).glob("*.whl"):
        wheel.unlink()
    wanted = [need for need in [*_needs_of_project(), *NEEDS_OF_NEEDS] if _name(need) not in LEFT_OUT]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [need for need in wanted if _name(need) in SOURCES_ONLY]
    fetch = [need for need in wanted if need not in build]
    platforms = [f"--platform={glibc}_x86_64" for glibc in GLIBC]
    for_312 = ["--only-binary=:all:", "--python-version=3.12", "--implementation=cp", *platforms]
    _call([*pip, "download", "-q", "--no-deps", *for_312, "-d", str(folder / WHEELS), *fetch])
    _call([*pip, "wheel", "-q", "--no-deps", "-w", str(folder / WHEELS), *build])
    if impure := [
        w.name for w in (folder / WHEELS).glob("*.whl") if "linux" not in w.name and "-none-any" not in w.name
    ]:
        sys.exit(f"error: {', '.join(impure)}: made for this machine alone, not for Python 3.12 on Linux x86-64")
    _pack_project(folder / PROJECT)
    _pack_videos(folder / VIDEOS)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    count = len(list((folder / WHEELS).glob("*.whl")))
    print(f"{folder}: {size:.1f} MB: {count} wheels, {PROJECT}, {len(list((folder / VIDEOS).iterdir()))} videos")
    if size > MOST_MEGABYTES:
        sys.exit(f"error: {size:.1f} MB is more than {MOST_MEGABYTES} MB")


def _needs_of_project() -> list[str]:
    """Return the dependencies in pyproject.toml without their markers, which all hold on Linux x86-64, Python 3.12."""
    text = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    assert block is not None
    return re.findall(r'^ *"([^";]+)', block[1], re.MULTILINE)


def _name(need: str) -> str:
    """Return the normalized name in a requirement or of a wheel."""
    found = re.match(r"[A-Za-z0-9._-]+?(?=$|[^A-Za-z0-9._-]|-\d)", need)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def _pack_project(archive: Path) -> None:
    """Archive all files that git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(archive, "w:gz") as tar:
        for name in sorted(filter(None, os.fsdecode(listed).split("\0"))):
            if (ROOT / name).exists():
                tar.add(ROOT / name, f"sola-pipeline/{name}")


def _pack_videos(folder: Path) -> None:
    """Pack the smallest real videos (SOLA_DATA, default ../shared/data), if there are any, and a generated one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    data = Path(os.environ.get("SOLA_DATA", ROOT.parent / "shared" / "data"))
    real = sorted((path for path in data.glob("*/videos/*.mp4")), key=lambda path: path.stat().st_size)[:1]
    for path in [*real, *sorted(data.glob("activitynet/*.mp4"))[-1:]]:
        shutil.copyfile(path, folder / path.name)
    from gpu_parts.footage import write_video

    write_video(folder / "made_720p.mp4", seconds=6, size=(720, 1280))


def _call(command: list[str]) -> None:
    if subprocess.run(command).returncode:
        sys.exit(f"error: failed: {' '.join(command[:6])} ...; see above")


def install(folder: Path, site: Path) -> None:
    """Install the wheels that this machine lacks into `site`, without a network.

    Installed packages of an accepted version are used, torch and NumPy above all.
    """
    wheels = sorted((folder / WHEELS).glob("*.whl"))
    if not wheels:
        sys.exit(f"error: {folder / WHEELS} has no wheels; make the folder with --pack")
    wanted = {_name(need): need for need in (*_needs_of_project(), *NEEDS_OF_NEEDS)}
    lacking = [wheel for wheel in wheels if not _is_here(wanted.get(_name(wheel.name), _name(wheel.name)))]
    site.mkdir(parents=True)
    if not lacking:
        return
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir"]
    with tempfile.TemporaryDirectory() as cwd:
        quiet = [*pip, "--disable-pip-version-check", "--root-user-action=ignore", "--target", str(site)]
        if subprocess.run([*quiet, *map(str, map(Path.resolve, lacking))], cwd=cwd).returncode:
            sys.exit(f"error: pip could not install from {folder / WHEELS}; see above")


def _is_here(need: str) -> bool:
    """Return whether this Python has the required package in an accepted version."""
    try:
        version = importlib.metadata.version(_name(need))
    except importlib.metadata.PackageNotFoundError:
        return False
    return all(_holds(version, bound) for bound in re.findall(r"([<>]=?)\s*([\d.]+)", need))


def _holds(version: str, bound: Iterable[str]) -> bool:
    sign, limit = bound
    ours, theirs = ([int(digits) for digits in re.findall(r"\d+", text)][:3] for text in (version, limit))
    theirs += [0] * (len(ours) - len(theirs))
    ours += [0] * (len(theirs) - len(ours))
    return {"<": ours < theirs, "<=": ours <= theirs, ">": ours > theirs, ">=": ours >= theirs}[sign]
