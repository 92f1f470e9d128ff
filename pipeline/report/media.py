"""Thumbnails and playable copies of a report's videos, in the folder of the report.

Their names tell the file's path, size and time: a report that is made again keeps those of unchanged videos.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pipeline.progress import Report, silent
from pipeline.report.config import ReportConfig
from pipeline.report.facts import VideoFact
from pipeline.storage.stamps import stamp_of
from pipeline.video.errors import VideoError
from pipeline.video.preview import Preview
from pipeline.video.preview_pool import Order, previews

MEDIA_FOLDER = "media"


@dataclass(frozen=True)
class Media:
    """What the page shows of a video.

    Args:
        seconds: its duration, or None.
        strip: the picture of its thumbnails, relative to the page; empty without.
        copy: the playable copy, relative to the page; empty without.
        note: why browsers may not play it; empty if they do.
    """

    seconds: float | None = None
    strip: str = ""
    copy: str = ""
    note: str = ""


def make_media(
    videos: Sequence[VideoFact], out: Path, config: ReportConfig, *, report: Report = silent
) -> Mapping[str, Media]:
    """Look at the videos and write thumbnails and copies into `out`; return what each video has."""
    folder = out / MEDIA_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    orders = {
        video.id: Order(video.path, folder, _stem(video.path), video.frame_rate)
        for video in videos
        if video.path is not None
    }
    made = previews(orders, thumbnails=config.thumbnails, copies=config.playable_copies, report=report)
    media = {video_id: _media(orders[video_id], found, config) for video_id, found in made.items()}
    kept = {Path(name).name for one in media.values() for name in (one.strip, one.copy) if name}
    for file in folder.iterdir():
        if file.name not in kept:
            file.unlink()
    return media


def _media(order: Order, found: Preview | VideoError, config: ReportConfig) -> Media:
    if isinstance(found, VideoError):
        return Media(note=f"This file cannot be read ({found.kind}: {found.reason}).")
    strip = f"{MEDIA_FOLDER}/{order.stem}.jpg" if found.strip and config.thumbnails else ""
    if found.copy:
        return Media(found.seconds, strip, f"{MEDIA_FOLDER}/{found.copy}")
    note = f"Not all browsers play this video ({found.obstacle}); --playable-copies makes a small copy that they play."
    return Media(found.seconds, strip, note=note if found.obstacle else "")


def _stem(path: Path) -> str:
    return sha256(repr((os.fsencode(path.absolute()), stamp_of(path))).encode()).hexdigest()[:16]
