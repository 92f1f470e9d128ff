"""The frame rate, the duration of the last frame, and what the container claims about both."""

from __future__ import annotations

from array import array
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

from pipeline.video.container import is_fragmented
from pipeline.video.packets import Packets

_USUAL_FPS = Fraction(25)  # of a stream that names no rate
_SANE_FPS = (Fraction(1, 100), Fraction(1000))
# FFmpeg computes the durations of these from the packets, so they are no claims; and no packet says how long it lasts.
_WITHOUT_CLAIMS = frozenset(("mpegts", "mpeg", "h264", "hevc"))
_WITHOUT_DURATIONS = _WITHOUT_CLAIMS | {"avi", "flv"}
# Only the duration of the whole file is stored. FFmpeg may state it as that of a stream, and it computes a longer one
# for an ASF whose streams begin late.
_WHOLE_FILE_CLAIMS = frozenset(("matroska,webm", "asf", "flv"))
# The claim for a whole file is taken as the end of its last frame only if near: a file that lost its end claims more.
_NEAR_SECONDS, _NEAR_SHARE = Fraction(1, 2), Fraction(1, 10)


def nominal_fps(stream: Any) -> Fraction:
    """Return the rate that the stream names, else FFmpeg's guess."""
    for rate in (stream.codec_context.framerate, stream.guessed_rate):
        if rate and _SANE_FPS[0] <= rate <= _SANE_FPS[1]:
            return Fraction(rate)
    return _USUAL_FPS


def rate_of(timestamps: array[int], time_base: Fraction, guessed: Any) -> tuple[bool, Fraction]:
    """Return whether the frames lie on a regular grid, to a tick (containers round), and the frames per second."""
    steps = len(timestamps) - 1
    span = timestamps[-1] - timestamps[0]
    if steps < 1 or span <= 0:
        return True, Fraction(guessed) if guessed else _USUAL_FPS
    first = timestamps[0]
    # |timestamp - (first + k * span / steps)| <= 1 tick, in whole numbers.
    constant = all(abs((t - first) * steps - k * span) <= steps for k, t in enumerate(timestamps))
    exact_fps = steps / (span * time_base)
    if constant and guessed and abs(Fraction(guessed) / exact_fps - 1) < Fraction(1, 1000):
        return True, Fraction(guessed)
    return constant, exact_fps.limit_denominator(1_000_000)


def last_duration(
    timestamps: array[int], packets: Packets, container: Any, stream: Any, *, fps: Fraction | None, nominal: Fraction
) -> int:
    """Return the ticks for which the last frame is shown, at least 1.

    The first that exists counts: the duration that the container stores, the step of a regular grid, the nearest end
    that the container claims, the nominal duration of a frame (or the shortest step, if that is shorter). Packets at
    the end that show nothing new extend it.

    Args:
        fps: rate of a regular grid; None: no such grid.
        nominal: frames per second according to the stream.
    """
    time_base = Fraction(stream.time_base)
    usual = max(1, round(1 / (nominal * time_base)))
    if container.format.name not in _WITHOUT_DURATIONS and not packets.fields and packets.durations[1] > 0:
        last = packets.durations[1]
    elif fps is not None and len(timestamps) > 2:
        last = max(1, round(1 / (fps * time_base)))
    else:
        claimed = _claimed_end(timestamps, packets, container, stream)
        last = claimed or min([usual, *(later - one for one, later in pairwise(timestamps) if later > one)])
    return max(last, packets.stays_until - timestamps[-1])


def _claimed_end(timestamps: array[int], packets: Packets, container: Any, stream: Any) -> int:
    """Return the ticks from the last frame to the nearest end that the container claims for it; 0: no claim."""
    if container.format.name in _WITHOUT_CLAIMS:
        return 0
    time_base = Fraction(stream.time_base)
    first, last = timestamps[0] * time_base, timestamps[-1] * time_base
    ends = [stream.duration * time_base] if _has_own_claim(container, stream) else []
    if container.duration and packets.reach_of_others.end <= last:  # else it may be the end of the sound
        whole = _whole_claim(container, stream)
        ends += [whole, whole + first]
    near = max(_NEAR_SECONDS, _NEAR_SHARE * (last - first))
    return min((max(1, round((end - last) / time_base)) for end in ends if 0 < end - last <= near), default=0)


def _has_own_claim(container: Any, stream: Any) -> bool:
    return bool(stream.duration) and container.format.name not in _WHOLE_FILE_CLAIMS


def _whole_claim(container: Any, stream: Any) -> Fraction:
    """Return the seconds that the container claims for the whole file; it must claim some."""
    whole = Fraction(container.duration, av.time_base)
    is_stated = stream.duration and container.format.name in _WHOLE_FILE_CLAIMS
    return min(whole, stream.duration * Fraction(stream.time_base)) if is_stated else whole


def claim_of(path: Path, container: Any, stream: Any, packets: Packets) -> tuple[Fraction | None, Fraction]:
    """Return the seconds that the container claims and the seconds that its packets reach, for comparison."""
    if container.format.name in _WITHOUT_CLAIMS:
        return None, packets.reach.span
    if container.format.name == "avi" and stream.frames:
        # FFmpeg shortens the duration, not the count, of an AVI that lost its end
        return stream.frames * stream.time_base, packets.reach.span
    if _has_own_claim(container, stream):
        # A file that begins with a later fragment lacks its beginning, not its end.
        late = container.format.name.startswith("mov") and is_fragmented(path)
        return stream.duration * stream.time_base, packets.reach.end if late else packets.reach.span
    if container.duration:
        # Compare a claim for the whole file with whatever reaches furthest; some containers count it from the first
        # packet, others from zero.
        others = packets.reach_of_others
        reached = max(packets.reach.end, others.end, packets.reach.span, others.span)
        return _whole_claim(container, stream), reached
    return None, packets.reach.span
