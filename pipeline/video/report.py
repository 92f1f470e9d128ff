"""The report on a decoded video, and the checks that it is good enough."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from pipeline.snippets import SnippetPlan
from pipeline.video.errors import VideoError
from pipeline.video.metadata import VideoInfo

# Containers round their duration, and some claim up to a second of sound after the last picture; a file that lost its
# end lacks more than that. A truncated file exceeds both limits.
TRUNCATED_SHARE = Fraction(1, 10)
TRUNCATED_SECONDS = Fraction(1, 2)


@dataclass(frozen=True)
class DecodeReport:
    """How a video was decoded.

    Args:
        backend: "decord", "pyav" or "torchcodec".
        backend_reason: why not the other one; empty if there was no choice.
        decoded_frames: frames that came out of the decoder.
        corrupt_frames: frames that were damaged, refused or missing.
        duration: seconds from the start of the first decoded frame to the end of the last.
        num_snippets: T.
        notes: what the user should know about the file.
        start_offset: seconds from the container's start, where sound may begin, to the first decoded frame.
    """

    backend: str
    backend_version: str
    backend_reason: str
    decoded_frames: int
    corrupt_frames: int
    duration: Fraction
    num_snippets: int
    notes: tuple[str, ...]
    start_offset: Fraction = Fraction(0)


def rows_in(duration: Fraction, plan: SnippetPlan) -> int:
    """Return T, the number of a video's rows.

    Raises:
        VideoError: too_short: it holds no window.
    """
    rows = plan.count(duration)
    if rows == 0:
        window = float(plan.window_seconds)
        raise VideoError(
            "too_short", f"{float(duration):.3f} s hold no window of {window:.3f} s; tail='pad' keeps the video"
        )
    return rows


def refuse_truncated(info: VideoInfo) -> None:
    """Refuse a file whose packets end long before the time that its container claims.

    Raises:
        VideoError: truncated.
    """
    if info.claimed_duration is None:
        return
    lacking = info.claimed_duration - info.reached
    if lacking > TRUNCATED_SECONDS and lacking > TRUNCATED_SHARE * info.claimed_duration:
        raise VideoError(
            "truncated",
            f"the container claims {float(info.claimed_duration):.3f} s, its packets reach {float(info.reached):.3f} s",
        )


def refuse_damaged(info: VideoInfo, report: DecodeReport, *, max_corrupt: float) -> None:
    """Refuse a video if too much of it could not be decoded.

    Args:
        max_corrupt: largest accepted share of corrupt frames, 0 to 1.

    Raises:
        VideoError: corrupt or truncated.
    """
    frames = max(info.num_frames, report.decoded_frames)
    if report.corrupt_frames > max_corrupt * frames:
        words = "; ".join(report.notes)
        raise VideoError("corrupt", f"{report.corrupt_frames} of {frames} frames are damaged{words and ': '}{words}")
    lacking = info.duration - report.duration
    if lacking > TRUNCATED_SECONDS and lacking > TRUNCATED_SHARE * info.duration:
        raise VideoError(
            "truncated", f"{float(report.duration):.3f} s of {float(info.duration):.3f} s could be decoded"
        )
