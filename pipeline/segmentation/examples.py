"""Marked stretches, as they are typed: video@start-end, or label=video@start-end."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePath

from pipeline.annotations.tools.names import seconds_of
from pipeline.errors import PipelineError

_FORM = re.compile(r"(?P<name>.+)@(?P<start>[0-9:.]+)-(?P<end>[0-9:.]+)", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A stretch of a video, (start, end) in seconds, and the label for what resembles it."""

    label: str
    video_id: str
    segment: tuple[float, float]


def read_example(text: str, ids: Collection[str]) -> Example:
    """Return the stretch that `text` marks.

    Args:
        text: video@start-end or label=video@start-end. The video is an id or the name of its file; times are seconds,
            mm:ss or hh:mm:ss, all with decimals.
        ids: of the videos at hand.

    Raises:
        PipelineError: the text has another form, the end is not after the start, or there is no such video.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise PipelineError(f"like must be VIDEO@START-END or LABEL=VIDEO@START-END (run.mp4@12.5-14.0), got {text!r}")
    start, end = _seconds(form["start"], text), _seconds(form["end"], text)
    if not start < end:
        raise PipelineError(f"like {text!r} must end after it starts")
    whole = form["name"]
    label, sign, name = whole.partition("=")
    # A file's own name may have a "=".
    for candidate, of in (*([(name, label)] if sign else []), (whole, f"like {text}")):
        if video_id := _video_id(candidate, ids):
            return Example(of.strip() or f"like {text}", video_id, (start, end))
    wanted = PurePath(name if sign else whole).stem
    nearest = get_close_matches(wanted, ids, n=3, cutoff=0.4) or sorted(ids)[:3]
    raise PipelineError(f"like {text!r}: no video {wanted!r} among the {len(ids)} given; nearest: {', '.join(nearest)}")


def _video_id(name: str, ids: Collection[str]) -> str | None:
    """Return the id that a name means: itself, or a file's name without folder and suffix."""
    path = PurePath(name)
    forms = (name, str(path.with_suffix("")) if path.name else name, path.stem, path.name)
    return next((form for form in forms if form in ids), None)


def _seconds(time: str, text: str) -> float:
    seconds = seconds_of(time)
    if isinstance(seconds, str):
        raise PipelineError(f"like {text!r}: a time must be seconds, mm:ss or hh:mm:ss, got {time!r}")
    return seconds
