"""Ranges of rows of a long video, each decoded by itself from a key frame before it.

A range gives the rows that one pass from front to back gives, or it fails. It needs an undamaged file in a container
with an index, and every frame must match the probe. A range also gives the first row of the next one, so that the two
can be compared when they are joined.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from operator import eq

from pipeline.snippets import SnippetPlan, exact, tick_of
from pipeline.video.errors import VideoError
from pipeline.video.metadata import VideoInfo
from pipeline.video.pyav_backend import DecodeCounts, TimedFrame
from pipeline.video.videos import VideoFile

_FORMATS = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"))
# Every packet of these shows one frame, so a missing frame is noticed.
_CODECS = frozenset(("h264", "hevc", "av1", "vp9", "mpeg1video", "mpeg2video"))
_MAX_ROWS = 4096  # of a range, which is held in memory


@dataclass(frozen=True, kw_only=True)
class CuttableVideo(VideoFile):
    """A video that is described instead of decoded if it is longer than `longest_seconds` and can be cut."""

    longest_seconds: float


@dataclass(frozen=True, kw_only=True)
class VideoRange(VideoFile):
    """A range of the rows of a video, decoded by itself; it has its own id.

    Args:
        video: the whole video.
        first_row, end_row: half-open; the row after them is decoded too, if there is one.
        num_rows: T of the whole video.
        info: result of the probe.
    """

    video: VideoFile
    first_row: int
    end_row: int
    num_rows: int
    info: VideoInfo


@dataclass(frozen=True)
class Part:
    """What to decode for a range; frames are counted from 0 in display order.

    Args:
        first_row, end_row: rows to return, half-open.
        num_rows: T of the whole video.
        entry: the key frame at which decoding begins.
        first_frame, end_frame: half-open; the frames that this range and no other counts.
    """

    first_row: int
    end_row: int
    num_rows: int
    entry: int
    first_frame: int
    end_frame: int


def why_whole(info: VideoInfo) -> str | None:
    """Return why the video cannot be decoded in ranges; None if it can."""
    reasons = (
        (info.format not in _FORMATS, f"container {info.format} has no index"),
        (info.codec not in _CODECS, f"codec {info.codec}"),
        (info.interlaced, "interlaced"),
        (info.by_order, "the container stores no presentation times"),
        (info.discarded > 0, "an edit list hides packets"),
        (not info.clean_start, "does not start with a key frame"),
        (info.claimed_frames not in (0, info.num_frames), "the container claims another number of frames"),
        (any(map(eq, info.timestamps, islice(info.timestamps, 1, None))), "two frames have one timestamp"),
    )
    return next((words for applies, words in reasons if applies), None)


def cut(info: VideoInfo, plan: SnippetPlan, *, longest_seconds: float) -> list[tuple[int, int]]:
    """Cut a video into ranges of rows, half-open, of about equal length, none much longer than `longest_seconds`.

    A range is merged with the previous one if its decoding would begin before that one. The result is empty if the
    video must be decoded as a whole.

    Args:
        plan: the encoder's plan; `fps` may be None.
    """
    if info.duration <= longest_seconds or why_whole(info) is not None:
        return []
    plan = plan.at(info.fps)
    rows = plan.count(info.duration)
    longest = max(1, min(_MAX_ROWS, math.floor(exact(longest_seconds) / plan.stride_seconds)))
    count = math.ceil(rows / longest)
    bounds = [0]
    for number in range(1, count):
        row = rows * number // count
        if entry_before(info, _frame_at(info, plan, row)) > _frame_at(info, plan, bounds[-1]):
            bounds.append(row)
    return list(pairwise([*bounds, rows])) if len(bounds) > 1 else []


def part_of(info: VideoInfo, plan: SnippetPlan, first_row: int, end_row: int, num_rows: int) -> Part:
    """Return what to decode for the rows `[first_row, end_row)` of `num_rows` and for the next row.

    Args:
        plan: the plan for this video.
    """
    last = end_row == num_rows
    first = _frame_at(info, plan, first_row)
    return Part(
        first_row=first_row,
        end_row=end_row if last else end_row + 1,
        num_rows=num_rows,
        entry=entry_before(info, first),
        first_frame=first,
        end_frame=info.num_frames if last else _frame_at(info, plan, end_row),
    )


def _frame_at(info: VideoInfo, plan: SnippetPlan, row: int) -> int:
    """Return the frame that is shown when a row begins."""
    tick = info.timestamps[0] + tick_of(row * plan.stride_seconds, info.time_base)
    return bisect_right(info.timestamps, tick) - 1


def entry_before(info: VideoInfo, frame: int) -> int:
    """Return the last frame up to `frame` at which decoding can begin; 0, the beginning, if there is none."""
    place = bisect_right(info.entries, info.timestamps[frame]) - 1
    return bisect_right(info.timestamps, info.entries[place]) - 1 if place >= 0 else 0


def as_announced(
    shown: Iterator[TimedFrame], info: VideoInfo, part: Part, counts: DecodeCounts
) -> Iterator[TimedFrame]:
    """Pass frames on; check that each is the one that the probe found at its place.

    Raises:
        VideoError: decode_error, at the first frame that differs, and at any damage.
    """
    first = info.timestamps[0]
    for number, frame in enumerate(shown, start=part.entry):
        expected = info.timestamps[number] - first if number < info.num_frames else None
        if frame.start != expected:
            raise VideoError("decode_error", f"frame {number} is shown at tick {frame.start}, not at {expected}")
        if frame.end is None and number + 1 != info.num_frames:
            raise VideoError("decode_error", f"frame {number} of {info.num_frames} is the last")
        if counts.flagged or counts.refused or counts.disordered or counts.words:
            raise VideoError("decode_error", f"damage up to frame {number}: {counts.words or 'frames are flagged'}")
        yield frame
