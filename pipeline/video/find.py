"""Turn what a user names (files, folders, lists of paths) into videos with ids."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Literal

from pipeline.errors import PipelineError
from pipeline.snippets import exact
from pipeline.storage.file_names import as_text
from pipeline.storage.location import AnyPath, RemotePath, location
from pipeline.storage.read_files import refuse_special
from pipeline.video.frame_names import is_frame_folder
from pipeline.video.videos import SameIdError, VideoList

SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("mp4", "m4v", "mov", "qt", "3gp", "3g2", "mj2", "mkv", "webm", "avi", "divx", "ts", "mts", "m2ts"),
        *("mpg", "mpeg", "vob", "flv", "f4v", "asf", "wmv", "ogv", "ogg", "gif"),
    )
)
LIST_SUFFIXES = frozenset((".txt", ".lst"))

Ids = Literal["stem", "path"]


def find_videos(
    inputs: Sequence[AnyPath], *, ids: Ids = "stem", frame_rate: Fraction | float | None = None
) -> VideoList:
    """Return the videos that `inputs` name, each path once, in the order of the inputs (folders sorted).

    No file is opened or measured, so a job over 100,000 files starts within seconds.

    Args:
        inputs: video files with any suffix; folders, searched with their subfolders for known video suffixes; text
            files (.txt, .lst) with one path a line, relative to the text file; blank lines and lines that start with #
            are ignored. All of them may be remote.
        ids: "stem": the id is the file name without suffix; "path": the id is the path relative to the input folder (or
            to the folder of the list, or to the file's own folder), without suffix.
        frame_rate: pictures a second. With it, a local folder that holds numbered pictures and no video file is a video
            itself (see `pipeline.video.frame_names`); its id is its name, or its path.

    Raises:
        PipelineError: no input is given, an input does not exist, no video is found, or two videos get one id.
    """
    if ids not in ("stem", "path"):
        raise PipelineError(f"ids must be 'stem' or 'path', got {ids!r}")
    if not inputs:
        raise PipelineError("videos: no input given; name video files, folders or text files with paths")
    rate = None if frame_rate is None else exact(frame_rate)
    found = VideoList()
    for given in inputs:
        any_here = False
        for path, root in _paths_of(given, frames=rate is not None):
            any_here = True
            absolute = path.absolute()
            folder = rate is not None and isinstance(absolute, Path) and absolute.is_dir()
            try:
                name = absolute.name if folder else absolute.stem
                name = name if ids == "stem" else _relative_name(absolute, root, whole=folder)
                found.add(as_text(name), absolute, frame_rate=rate if folder else None)
            except SameIdError as error:
                raise PipelineError(f"{error}; {_remedy(inputs, ids, rate)}") from None
        if not any_here and given.is_dir():
            raise _nothing_below(given, rate)
    if not found:
        raise PipelineError(f"videos: no video named by {', '.join(str(given) for given in inputs)}")
    return found


def _nothing_below(given: AnyPath, rate: Fraction | None) -> PipelineError:
    """Return the error for a folder without videos; it says so if there are frame folders."""
    if rate is None and isinstance(given, Path):
        frames = next((path for path in _search(given, frames=True) if path.is_dir()), None)
        if frames is not None:
            return PipelineError(
                f"videos: no video below {given}, but {frames} holds numbered pictures; "
                "add --frame-rate N, the pictures a second, to take such folders as videos"
            )
    pictures = "" if rate is None else ", and for folders of numbered pictures"
    return PipelineError(f"videos: no video below {given}; searched for {' '.join(sorted(SUFFIXES))}{pictures}")


def _remedy(inputs: Sequence[AnyPath], ids: Ids, rate: Fraction | None) -> str:
    """Return the advice for two videos with one id."""
    if ids == "stem":
        with contextlib.suppress(PipelineError):  # does not help if only their suffixes differ
            find_videos(inputs, ids="path", frame_rate=rate)
            return "with --ids path the path below the folder becomes the id"
    return "rename one of them (their names differ only in the suffix, or in the input folder)"


def _paths_of(given: AnyPath, *, frames: bool) -> Iterator[tuple[AnyPath, AnyPath]]:
    """Yield pairs of a video's path and the folder that its id is relative to.

    Args:
        frames: whether folders of numbered pictures are videos.
    """
    if given.is_dir():
        yield from ((path, given) for path in _search(given, frames=frames))
    elif given.suffix.lower() in LIST_SUFFIXES and given.is_file():
        yield from _listed(given, frames=frames)
    elif given.is_file():
        yield given, given.parent
    else:
        raise PipelineError(f"videos: no such file or folder: {given}")


def _listed(text_file: AnyPath, *, frames: bool) -> Iterator[tuple[AnyPath, AnyPath]]:
    elsewhere: dict[str, RemotePath] = {}  # by scheme
    for number, line in enumerate(_lines_of(text_file), start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        path = location(entry) if "://" in entry else text_file.parent / entry
        if isinstance(path, RemotePath):
            path = RemotePath(path.url, elsewhere.setdefault(path.url.partition("://")[0], path).remote)
        is_folder = frames and isinstance(path, Path) and path.is_dir() and is_frame_folder(path)
        if not is_folder and not path.is_file():
            raise PipelineError(f"videos: {text_file} line {number}: no such file: {path}")
        yield path, text_file.parent


def _lines_of(text_file: AnyPath) -> Iterator[str]:
    try:
        if isinstance(text_file, RemotePath):
            yield from text_file.read_text(encoding="utf-8-sig").splitlines()
        else:
            refuse_special(text_file, what="videos")
            with text_file.open(encoding="utf-8-sig") as lines:
                yield from lines
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"videos: cannot read the list {text_file}: {error}") from None


def _search(folder: AnyPath, *, frames: bool) -> Iterator[AnyPath]:
    """Yield the videos below `folder`, sorted; skip hidden names and symlinked folders that lead back."""
    if isinstance(folder, RemotePath):
        for path in folder.find():  # one listing of all objects below
            hidden = any(part.startswith(".") for part in path.below(folder).split("/"))
            if path.suffix.lower() in SUFFIXES and not hidden:
                yield path
        return
    yield from _search_below(folder, frozenset([os.path.realpath(folder)]), frames=frames)


def _search_below(folder: Path, above: frozenset[str], *, frames: bool) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            names, folders = _listing(entries)
        if frames and len(names) == len(folders) and is_frame_folder(folder):
            yield folder
            return
    except OSError as error:
        raise PipelineError(f"videos: cannot list the folder {folder}: {error.strerror}") from None
    for name in names:
        path = folder / name
        if name not in folders:
            yield path
        elif (real := os.path.realpath(path)) not in above:
            yield from _search_below(path, above | {real}, frames=frames)


def _listing(entries: Iterable[os.DirEntry[str]]) -> tuple[list[str], set[str]]:
    """Return the sorted names of the videos and folders among `entries`, and those of the folders alone.

    All else with the suffix of a video counts as one; what cannot be read (a broken link, a pipe) fails later.
    """
    names, folders = [], set()
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            folders.add(entry.name)
        elif PurePath(entry.name).suffix.lower() not in SUFFIXES:
            continue
        names.append(entry.name)
    return sorted(names), folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _relative_name(path: AnyPath, root: AnyPath, *, whole: bool) -> str:
    """Return the path below `root`, without suffix unless the `whole` name counts."""
    if isinstance(path, RemotePath):  # a list may name objects elsewhere: then only the whole URL is unique
        below = path.below(root) if isinstance(root, RemotePath) else path.url
        return below.removesuffix(path.suffix)
    if isinstance(root, RemotePath):
        root = Path(path.anchor)
    try:
        relative = path.relative_to(root.absolute())
    except ValueError:  # a list may name files outside its folder: then only the whole path is unique
        relative = path.relative_to(path.anchor)
    if relative == Path():
        return path.name  # the folder that was given is a frame folder itself
    return (relative if whole else relative.with_suffix("")).as_posix()
