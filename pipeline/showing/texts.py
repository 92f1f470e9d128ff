"""Write segments as text: tables, subtitles, and chapters for FFmpeg."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from pipeline.annotations.segments import Detection
from pipeline.annotations.tools.table_writer import COLUMNS, table
from pipeline.showing.listing import Listing
from pipeline.showing.timeline import Piece, milliseconds, pieces_of, time_code
from pipeline.text.plain import plain, plain_json

_SECONDS_DIGITS = 6  # as in files of detections
_SCORE_DIGITS = 9
_NO_ACTION = "(no action)"
# Between the first two characters of what players of SRT would take for markup or for a time line; it is not visible.
_JOINER = "\u2060"


def csv_text(listing: Listing) -> str:
    """Return a table with the columns video, start, end (seconds), label and, of detections, score."""
    rows = [row.values() for row in _rows(listing)]
    return table(COLUMNS if listing.scored else COLUMNS[:4], rows)


def jsonl_text(listing: Listing) -> str:
    """Return one JSON object a line, with the fields of `csv_text`."""
    return "".join(f"{plain_json(row)}\n" for row in _rows(listing))


def _rows(listing: Listing) -> Iterator[dict[str, object]]:
    for video, items in listing.videos.items():
        for item in items:
            start, end = (round(float(bound), _SECONDS_DIGITS) for bound in item.segment)
            row: dict[str, object] = {"video": video, "start": start, "end": end, "label": item.label}
            yield row | ({"score": round(float(item.score), _SCORE_DIGITS)} if listing.scored else {})


def srt_text(listing: Listing, video_id: str) -> str:
    """Return subtitles as SRT, which has no overlapping ones: labels that go on at the same time share one.

    SRT has no escapes either: what players take for markup (`<i>`, `{…}`) and `-->` get an invisible character inside.
    """
    blocks = []
    for number, piece in enumerate(pieces_of(listing.videos[video_id]), start=1):
        lines = [re.sub(r"[<{]|--(?=>)", lambda found: found[0] + _JOINER, line) for line in _lines(piece, listing)]
        times = f"{time_code(piece.start, ',')} --> {time_code(piece.end, ',')}"
        blocks.append("\n".join([str(number), times, *lines]) + "\n")
    return "\n".join(blocks)


def vtt_text(listing: Listing, video_id: str) -> str:
    """Return subtitles as WebVTT.

    Source: https://www.w3.org/TR/webvtt1/, section 4.
    """
    blocks = ["WEBVTT\n"]
    for piece in pieces_of(listing.videos[video_id]):
        lines = [_escaped(line) for line in _lines(piece, listing)]
        blocks.append("\n".join([f"{time_code(piece.start)} --> {time_code(piece.end)}", *lines]) + "\n")
    return "\n".join(blocks)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _lines(piece: Piece, listing: Listing) -> list[str]:
    """Return a line of subtitle for each label."""
    return [plain(f"{item.label} {item.score:.2f}" if listing.scored else item.label) for item in piece.items]


def chapters_text(listing: Listing, video_id: str) -> str:
    """Return chapters as FFmpeg's metadata file; they follow each other without a gap, as players expect.

    Labels that go on at the same time share a chapter; between actions there is one called (no action).

    Source: https://ffmpeg.org/ffmpeg-formats.html#Metadata-2
    """
    blocks = [";FFMETADATA1\n"]
    duration = listing.durations.get(video_id)
    for title, start, end in _chapters(listing.videos[video_id], None if duration is None else milliseconds(duration)):
        safe = re.sub(r"([=;#\\])", r"\\\1", plain(title))
        if safe.endswith("\\"):  # FFmpeg takes it and the line's end for one escaped character
            safe += " "
        blocks.append(f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle={safe}\n")
    return "".join(blocks)


def _chapters(items: Sequence[Detection], end: int | None) -> Iterator[tuple[str, int, int]]:
    """Yield titles with their start and end in milliseconds; `end` is that of the video, if it is known."""
    titled = [(" + ".join(item.label for item in piece.items), piece.start, piece.end) for piece in pieces_of(items)]
    chapters, at = [], 0
    for title, start, stop in titled:
        if start > at:
            chapters.append((_NO_ACTION, at, start))
        chapters.append((title, start, stop))
        at = stop
    if end is not None and end > at:
        chapters.append((_NO_ACTION, at, end))
    for title, same in groupby(chapters, key=lambda chapter: chapter[0]):
        group = list(same)
        yield title, group[0][1], group[-1][2]


# By form: one text for all videos, and one for each.
WHOLE: dict[str, Callable[[Listing], str]] = {"csv": csv_text, "jsonl": jsonl_text}
EACH: dict[str, Callable[[Listing, str], str]] = {"srt": srt_text, "vtt": vtt_text, "chapters": chapters_text}
