"""Write segments and detections for a tool, so that a person can look at them and correct them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, get_args

from pipeline.annotations.tools import (
    audacity_writer,
    boris_writer,
    cvat_writer,
    elan_writer,
    label_studio_writer,
    table_writer,
    via_writer,
)
from pipeline.annotations.tools.labeled import Labeled, Video, labels_of, videos_of
from pipeline.annotations.videos import VideoFacts
from pipeline.errors import PipelineError
from pipeline.storage.file_names import file_name_of

Form = Literal["csv", "elan", "via", "cvat", "label-studio", "boris", "audacity"]
FORMS: tuple[Form, ...] = get_args(Form)
# The form of a file whose suffix leaves no doubt.
BY_SUFFIX: dict[str, Form] = {".csv": "csv", ".eaf": "elan", ".xml": "cvat", ".txt": "audacity", ".boris": "boris"}
# Forms with one file for each video, and its suffix.
_PER_VIDEO: dict[Form, str] = {"elan": ".eaf", "cvat": ".xml", "audacity": ".txt"}


def form_of(path: Path, form: Form | None = None) -> Form:
    """Return the form to write: the given one, or what the suffix of the path says.

    Raises:
        PipelineError: the suffix says nothing.
    """
    if form is not None:
        return form
    if path.suffix.lower() not in BY_SUFFIX:
        known = f"{' '.join(BY_SUFFIX)}, or name the form (--to): {', '.join(FORMS)}"
        raise PipelineError(f"{path}: its suffix says no form; take one of {known}")
    return BY_SUFFIX[path.suffix.lower()]


def write_for_tool(
    labeled: Mapping[str, Iterable[Labeled]],
    path: Path,
    form: Form | None = None,
    videos: Mapping[str, VideoFacts] | None = None,
) -> list[Path]:
    """Write segments or detections in the form of a tool, each file whole or not at all; return the files.

    Args:
        labeled: segments or detections by video id; all are written.
        path: the file. ELAN, CVAT and Audacity have one file for each video: several videos, or a path without suffix,
            get a folder of this name without the suffix, with files named like the videos.
        form: of the file; None: by the suffix of `path`.
        videos: facts on the videos' files by id. Tools find the videos by them; CVAT and Label Studio count
            frames and cannot do without.

    Raises:
        PipelineError: the form is unknown, facts are missing, or a library that the form needs is not installed.
    """
    form, found = form_of(path, form), videos_of(labeled, videos or {})
    if form == "csv":
        table_writer.write(path, found)
    elif form == "via":
        via_writer.write(path, found)
    elif form == "boris":
        boris_writer.write(path, found)
    elif form == "label-studio":
        label_studio_writer.write(path, found)
    else:
        return _write_each(found, path, form)
    return [path]


def _write_each(videos: list[Video], path: Path, form: Form) -> list[Path]:
    """Write a file for each video; check all of them before the first is written."""
    suffix, labels = _PER_VIDEO[form], labels_of(videos)
    if form == "cvat":
        for video in videos:
            video.known("CVAT")
    folder = path.with_suffix("") if path.suffix.lower() == suffix else path
    single = len(videos) == 1 and path.suffix.lower() == suffix
    files = []
    for video in videos:
        file = path if single else folder / f"{file_name_of(video.id)}{suffix}"
        if form == "elan":
            elan_writer.write(file, video, labels)
        elif form == "cvat":
            cvat_writer.write(file, video, labels)
        else:
            audacity_writer.write(file, video)
        files.append(file)
    return files
