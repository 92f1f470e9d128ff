"""Which reader reads a file: found by the content, so that any file with labels can be given as annotations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.annotations import activitynet, bsn, detections, thumos
from pipeline.annotations.content import Content, open_content
from pipeline.annotations.model import canonical_subset
from pipeline.annotations.raw import RawAnnotations, RawVideo
from pipeline.annotations.tools import (
    audacity,
    boris,
    boris_table,
    cvat,
    ego4d,
    elan,
    epic_kitchens,
    label_studio,
    multithumos,
    table,
    via,
)
from pipeline.errors import PipelineError
from pipeline.text.plain import counted, first_of


@dataclass(frozen=True)
class Format:
    """A form of files with labels.

    Args:
        name: for people.
        recognizes: tells whether a file is in this form.
        translate: returns its values.
    """

    name: str
    recognizes: Callable[[Content], bool]
    translate: Callable[[Content], RawAnnotations]


# In this order: the first that recognizes a file reads it.
FORMATS = (
    Format("ActivityNet, HACS, THUMOS14, ActionFormer (JSON)", activitynet.recognizes, activitynet.translate_content),
    Format("BSN (JSON)", bsn.recognizes_content, bsn.translate_content),
    Format("detections (JSON)", detections.recognizes, detections.translate),
    Format("VIA 3 (JSON, CSV)", via.recognizes, via.translate),
    Format("CVAT (XML, zip)", cvat.recognizes, cvat.translate),
    Format("Label Studio (JSON)", label_studio.recognizes, label_studio.translate),
    Format("ELAN (.eaf)", elan.recognizes, elan.translate),
    Format("BORIS (.boris)", boris.recognizes, boris.translate),
    Format("BORIS (CSV, TSV)", boris_table.recognizes, boris_table.translate),
    Format("Ego4D (JSON)", ego4d.recognizes, ego4d.translate),
    Format("EPIC-KITCHENS (CSV)", epic_kitchens.recognizes, epic_kitchens.translate),
    Format("THUMOS14 (text)", lambda content: thumos.is_named(content.path), lambda c: thumos.translate(c.path)),
    Format("MultiTHUMOS (text)", multithumos.recognizes, multithumos.translate),
    Format("Audacity (.txt)", audacity.recognizes, audacity.translate),
    Format("a table: video,start,end,label (CSV)", table.recognizes, table.translate),
)
SUFFIXES = (".json", ".csv", ".tsv", ".txt", ".xml", ".zip", ".eaf", ".boris")
_SHOWN = 5


def translate(paths: Sequence[Path]) -> RawAnnotations:
    """Return the values of files and folders with labels, put together.

    A folder counts for its files with a known suffix; those in no known form are noted. A folder of THUMOS14's text
    files counts as one.

    Raises:
        PipelineError: a file is absent, damaged or in no known form, or a folder has no file in a known form.
    """
    found: list[tuple[str, RawAnnotations]] = []
    notes: list[str] = []
    for path in paths:
        if not path.is_dir():
            found.append((path.name, _translate_file(path)))
        elif any(thumos.is_named(file) for file in path.iterdir()):
            found.append((path.name, thumos.translate(path)))
        else:
            found += _translate_folder(path, notes)
    raw = found[0][1] if len(found) == 1 else _merged(found)
    return replace(raw, losses=(*raw.losses, *notes))


def files_of(path: Path) -> list[Path]:
    """Return the files that are read of a file or a folder with labels, sorted."""
    if not path.is_dir():
        return [path]
    return sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and not file.is_dir()
    )


def _translate_file(path: Path) -> RawAnnotations:
    content = open_content(path)
    reader = _reader(content)
    if reader is None:
        missing = 'no "database" in it' if content.json is not None else "its form is not known"
        raise PipelineError(f"annotations {path}: {missing}; accepted are {'; '.join(form.name for form in FORMATS)}")
    return reader.translate(content)


def _reader(content: Content) -> Format | None:
    return next((form for form in FORMATS if form.recognizes(content)), None)


def _translate_folder(folder: Path, notes: list[str]) -> list[tuple[str, RawAnnotations]]:
    found, skipped = [], []
    for file in files_of(folder):
        content = open_content(file)
        reader = _reader(content)
        if reader is None or reader.translate is detections.translate:
            skipped.append(file.name)
        else:
            found.append((file.name, reader.translate(content)))
    if not found:
        raise PipelineError(
            f"annotations: no file in {folder} is in a known form; accepted are {'; '.join(f.name for f in FORMATS)}"
        )
    if skipped:
        notes.append(f"not read, in no known form: {counted(len(skipped), 'file')} ({first_of(skipped)})")
    return found


def _merged(parts: list[tuple[str, RawAnnotations]]) -> RawAnnotations:
    """Return several files as one: segments of one video in several files are put together."""
    videos: dict[str, RawVideo] = {}
    faults = [f"{name}, {line}" for name, raw in parts for line in raw.faults]
    for name, raw in parts:
        for video in raw.videos:
            told = [replace(s, where=f"{name}, {s.where or f'segment {i}'}") for i, s in enumerate(video.segments)]
            before = videos.get(video.id, RawVideo(video.id, []))
            if _differ(before.subset, video.subset):
                faults.append(f"{name}: video {video.id!r} is in the subsets {before.subset!r} and {video.subset!r}")
            videos[video.id] = RawVideo(
                id=video.id,
                segments=[*before.segments, *told],
                **{k: _first(getattr(before, k), getattr(video, k)) for k in ("subset", "duration", "fps", "frames")},
            )
    losses = [f"{name}: {line}" for name, raw in parts for line in raw.losses]
    if len(losses) > _SHOWN:
        losses = [*losses[:_SHOWN], f"and {counted(len(losses) - _SHOWN, 'more note')} on other files"]
    dialects = dict.fromkeys(raw.dialect for _, raw in parts)
    return RawAnnotations(", ".join(dialects), list(videos.values()), losses=tuple(losses), faults=tuple(faults))


def _first(one: object, other: object) -> object:
    return other if one is None else one


def _differ(one: object, other: object) -> bool:
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    return canonical_subset(one) != canonical_subset(other)
