"""Times and names of videos, as tools write them."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit

_CLOCK = re.compile(r"(?:(\d{1,6}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d*)?)")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?")
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # Label Studio puts it before the name of an uploaded file
_MEDIA = re.compile(
    r"\.(mp4|m4v|mov|qt|3gp|3g2|mkv|webm|avi|divx|m?ts|m2ts|mpe?g|vob|flv|f4v|asf|wmv|og[gv]|gif|wav|mp3|m4a|flac)\Z",
    re.IGNORECASE,
)


def seconds_of(text: str) -> float | str:
    """Return the seconds in `12.5`, `12,5`, `1:02.5` or `0:01:02.5`; other text as it is, for the check to refuse."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text.replace(",", "."))
    if not (found := _CLOCK.fullmatch(text)):
        return text
    hours, minutes, seconds = int(found[1] or 0), int(found[2]), float(found[3].replace(",", "."))
    return text if seconds >= 60 or (found[1] and minutes >= 60) else 3600 * hours + 60 * minutes + seconds


def is_media(name: str) -> bool:
    """Return whether a name ends like a file of video or sound."""
    return _MEDIA.search(name.partition("?")[0].strip()) is not None


def video_id_of(name: str) -> str:
    """Return the id of a video that a tool names by a path or a URL: the file's name without folder and suffix.

    >>> video_id_of("file:///C:/My%20videos/walk.mp4"), video_id_of("/data/local-files/?d=set/walk.mp4")
    ('walk', 'walk')
    """
    name = name.strip()
    uploaded = "/upload/" in name
    if name.startswith(("http://", "https://", "file:", "s3://", "gs://", "/data/")):
        try:
            parts = urlsplit(name)
        except ValueError:  # brackets in the place of the host
            return name
        asked = parse_qs(parts.query).get("d")
        name = asked[0] if asked else unquote(parts.path) or unquote(parts.netloc)
    name = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    name = _MEDIA.sub("", name) or name
    return _UPLOADED.sub("", name) if uploaded else name
