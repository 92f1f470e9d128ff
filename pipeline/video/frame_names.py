"""The names of the pictures in a folder of frames: `img_00001.jpg`, `frame12.png`, …

An optional prefix, a number with or without leading zeros, and .jpg, .jpeg or .png. The numbers begin anywhere and
rise by one. Pictures of optical flow beside them (`flow_x_00001.jpg`, `y_00001.jpg`, as MMAction and TSN write them)
are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

from pipeline.video.errors import VideoError

_NAME = re.compile(r"(?P<prefix>.*?)(?P<number>[0-9]{1,15})(?P<suffix>\.(?:jpe?g|png))", re.IGNORECASE)
_FLOW = re.compile(r"(?:flow[-_]?)?[xy][-_]?", re.IGNORECASE)


@dataclass(frozen=True)
class _Picture:
    prefix: str
    number: int
    name: str


def is_picture(name: str) -> bool:
    """Return whether a file is named like a picture of a frame folder."""
    found = _NAME.fullmatch(name)
    return found is not None and not _FLOW.fullmatch(found["prefix"])


def is_frame_folder(folder: Path) -> bool:
    """Return whether a folder directly holds numbered pictures."""
    return any(is_picture(path.name) and path.is_file() for path in folder.iterdir())


def pictures_of(folder: Path) -> list[Path]:
    """Return the pictures of a folder in the order of their numbers.

    Raises:
        VideoError: unreadable: there are none, a number is missing or stands twice, or prefixes differ.
    """
    try:
        found = sorted(_parsed(path.name for path in folder.iterdir()), key=lambda one: (one.prefix, one.number))
    except OSError as error:
        raise VideoError("unreadable", str(error)) from None
    if not found:
        raise VideoError("unreadable", f"no numbered pictures (.jpg or .png) in {folder}")
    prefixes = [prefix for prefix, _ in groupby(found, key=lambda one: one.prefix)]
    if len(prefixes) > 1:
        shown = ", ".join(f"{prefix}*" for prefix in prefixes[:4])
        raise VideoError("unreadable", f"pictures of several sequences ({shown}); give each a folder of its own")
    for one, following in pairwise(found):
        if following.number == one.number:
            raise VideoError("unreadable", f"{one.name} and {following.name} have one number; remove one of them")
        if following.number != one.number + 1:
            raise VideoError(
                "unreadable",
                f"no picture between {one.name} and {following.name}; extract the frames again, or number the pictures "
                "without gaps",
            )
    return [folder / one.name for one in found]


def _parsed(names: Iterable[str]) -> Iterator[_Picture]:
    for name in names:
        if is_picture(name) and (found := _NAME.fullmatch(name)):
            yield _Picture(found["prefix"], int(found["number"]), name)
