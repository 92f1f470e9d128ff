"""A video with a marker for each segment, as OpenTimelineIO, which editing programs import."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from pipeline.showing.listing import Listing
from pipeline.text.plain import plain

# The colors that the format knows, for one label after the other.
_COLORS = ("RED", "GREEN", "BLUE", "YELLOW", "PURPLE", "CYAN", "ORANGE", "PINK", "MAGENTA", "WHITE")


def otio_timeline(listing: Listing, video_id: str, *, url: str, fps: Fraction, duration: Fraction) -> dict[str, Any]:
    """Return a timeline with the whole video as one clip, and its segments as markers, which may overlap.

    Times are the nearest whole frames.

    Args:
        url: of the video file.
        fps: average frames per second.
        duration: of the video, in seconds.

    Source: https://opentimelineio.readthedocs.io/en/stable/tutorials/otio-serialized-schema-only-fields.html
    """
    rate = float(fps)
    frames = max(1, round(duration * fps))
    whole = _time_range(0, frames, rate)
    media = {
        "OTIO_SCHEMA": "ExternalReference.1",
        "metadata": {},
        "name": "",
        "available_range": whole,
        "target_url": url,
    }
    clip = {
        "OTIO_SCHEMA": "Clip.1",
        "metadata": {},
        "name": plain(video_id),
        "source_range": whole,
        "effects": [],
        "markers": _markers(listing, video_id, rate, frames),
        "media_reference": media,
    }
    track = {"OTIO_SCHEMA": "Track.1", "metadata": {}, "name": "video", "kind": "Video", **_empty(), "children": [clip]}
    stack = {"OTIO_SCHEMA": "Stack.1", "metadata": {}, "name": "tracks", **_empty(), "children": [track]}
    name = plain(video_id)
    return {"OTIO_SCHEMA": "Timeline.1", "metadata": {}, "name": name, "global_start_time": None, "tracks": stack}


def _markers(listing: Listing, video_id: str, rate: float, frames: int) -> list[dict[str, Any]]:
    labels = sorted({item.label for items in listing.videos.values() for item in items})
    markers = []
    for item in listing.videos[video_id]:
        first, end = (min(frames, max(0, round(bound * rate))) for bound in item.segment)
        if end > first:
            markers.append(
                {
                    "OTIO_SCHEMA": "Marker.2",
                    "metadata": {"sola-pipeline": {"score": item.score}} if listing.scored else {},
                    "name": plain(item.label),
                    "color": _COLORS[labels.index(item.label) % len(_COLORS)],
                    "marked_range": _time_range(first, end - first, rate),
                }
            )
    return markers


def _empty() -> dict[str, Any]:
    return {"source_range": None, "effects": [], "markers": []}


def _time_range(start: int, duration: int, rate: float) -> dict[str, Any]:
    times = {
        name: {"OTIO_SCHEMA": "RationalTime.1", "rate": rate, "value": float(value)}
        for name, value in (("start_time", start), ("duration", duration))
    }
    return {"OTIO_SCHEMA": "TimeRange.1", **times}
