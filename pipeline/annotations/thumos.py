"""THUMOS14's own text files: `<Class>_val.txt` and `<Class>_test.txt` with lines `<video id> <start> <end>`."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.annotations.raw import RawAnnotations, RawSegment, RawVideo
from pipeline.errors import PipelineError
from pipeline.storage.read_files import read_text
from pipeline.text.plain import counted

_NAME = re.compile(r"(?P<label>.+)_(?P<subset>val|test)\.txt", re.IGNORECASE)
_SUBSETS = {"val": "validation", "test": "test"}


def is_named(path: Path) -> bool:
    """Return whether a file has a name of these files."""
    return _NAME.fullmatch(path.name) is not None


def translate(path: Path) -> RawAnnotations:
    """Return the values of a folder of such files, or of one such file.

    The class is the file's name up to the last underscore; the subset follows it. Times are in seconds.

    Raises:
        PipelineError: there is no such file, a file cannot be read, or a line is not an id and two times.
    """
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    matches = [(file, match) for file in files if (match := _NAME.fullmatch(file.name))]
    if not matches:
        raise PipelineError(
            f"annotations: {path} has no THUMOS14 files; expected names like HighJump_val.txt and HighJump_test.txt"
        )
    segments: dict[str, list[RawSegment]] = {}
    subsets: dict[str, str] = {}
    for file, match in matches:
        subset = _SUBSETS[match["subset"].lower()]
        for video, start, end in _lines(file):
            if subsets.setdefault(video, subset) != subset:
                raise PipelineError(f"annotations: {file}: video {video!r} is in {subset} and {subsets[video]}")
            segments.setdefault(video, []).append(RawSegment((start, end), match["label"]))
    videos = [RawVideo(id=video, segments=segments[video], subset=subsets[video]) for video in sorted(segments)]
    skipped = [file.name for file in files if not _NAME.fullmatch(file.name)]
    losses = []
    if skipped:
        losses.append(f"{counted(len(skipped), 'other text file', 'is', 'are')} not read ({', '.join(skipped[:3])})")
    losses.append("these files have no durations and do not name videos without segments")
    return RawAnnotations(dialect="thumos14-text", videos=videos, losses=tuple(losses))


def _lines(file: Path) -> list[tuple[str, str, str]]:
    rows = []
    for number, line in enumerate(read_text(file, what="annotations").splitlines(), start=1):
        match line.split():
            case []:
                continue
            case [video, start, end]:
                rows.append((video, start, end))
            case _:
                raise PipelineError(
                    f"annotations: {file}, line {number}: expected a video id, start and end, got {line.strip()!r:.80}"
                )
    return rows
