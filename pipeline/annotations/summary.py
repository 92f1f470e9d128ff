"""What an annotation file holds, in numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from pipeline.annotations.model import Annotations, VideoAnnotations
from pipeline.text.plain import counted

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


@dataclass(frozen=True)
class Group:
    """Numbers of a subset or of a class.

    Args:
        name: of the subset or class.
        videos: with it.
        segments: in it.
        median_seconds: of its segments; None where there are none.
        hours: total duration of its videos; None where one of them is not known.
    """

    name: str
    videos: int
    segments: int
    median_seconds: float | None
    hours: float | None = None


@dataclass(frozen=True)
class Summary:
    """What :func:`summary` finds.

    Args:
        dialect, version: of the file.
        videos: all; ``without_segments`` of them have none, ``without_duration`` say none.
        segments: of all classes; ``ambiguous`` are counted apart, ``overlapping`` overlap another in their video.
        length_seconds: quantiles (see ``QUANTILES``) of the segments' lengths; empty without segments.
        length_share: the same as a share of the video's duration, over videos that say one.
        subsets, classes: in the file's order; in class index order.
        problems: what was mended, lost or looks odd.
    """

    dialect: str
    version: str
    videos: int
    without_segments: int
    without_duration: int
    segments: int
    ambiguous: int
    overlapping: int
    length_seconds: tuple[float, ...]
    length_share: tuple[float, ...]
    subsets: tuple[Group, ...]
    classes: tuple[Group, ...]
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The same as text, line by line."""
        lines = [
            f"dialect {self.dialect}" + (f", version {self.version}" if self.version else ""),
            f"{counted(self.videos, 'video')} "
            f"({self.without_segments} without segments, {self.without_duration} without duration)",
            f"{counted(self.segments, 'segment')} of {counted(len(self.classes), 'class')} "
            f"({self.overlapping} overlap another in their video, {self.ambiguous} ambiguous)",
        ]
        if self.length_seconds:
            lines += ["", "length of segments  " + "".join(f"{_percent(q):>9}" for q in QUANTILES)]
            lines.append("  seconds           " + "".join(f"{value:9.2f}" for value in self.length_seconds))
        if self.length_share:
            lines.append("  share of the video" + "".join(f"{value:9.3f}" for value in self.length_share))
        lines += ["", *_table("subset", self.subsets, hours=True), "", *_table("class", self.classes)]
        if self.problems:
            lines += ["", "problems", *(f"  {problem}" for problem in self.problems)]
        return lines


def summary(annotations: Annotations) -> Summary:
    """Videos, subsets, classes, segments, their lengths, and problems of ``annotations``."""
    videos = list(annotations.videos.values())
    lengths = [_length(pair) for video in videos for pair in _pairs(video)]
    shares = [_length(pair) / video.duration for video in videos if video.duration for pair in _pairs(video)]
    return Summary(
        dialect=annotations.dialect,
        version=annotations.version,
        videos=len(videos),
        without_segments=sum(not video.segments for video in videos),
        without_duration=sum(video.duration is None for video in videos),
        segments=len(lengths),
        ambiguous=sum(len(video.ambiguous) for video in videos),
        overlapping=sum(map(_overlapping, videos)),
        length_seconds=_quantiles(lengths),
        length_share=_quantiles(shares),
        subsets=tuple(_subset(name, videos) for name in annotations.subsets()),
        classes=_classes(annotations),
        problems=annotations.problems,
    )


def _subset(name: str, videos: list[VideoAnnotations]) -> Group:
    chosen = [video for video in videos if video.subset == name]
    lengths = [_length(pair) for video in chosen for pair in _pairs(video)]
    known = [video.duration for video in chosen if video.duration is not None]
    return Group(
        name=name or "(none)",
        videos=len(chosen),
        segments=len(lengths),
        median_seconds=median(lengths) if lengths else None,
        hours=sum(known) / 3600 if len(known) == len(chosen) else None,
    )


def _classes(annotations: Annotations) -> tuple[Group, ...]:
    lengths: dict[str, list[float]] = {label: [] for label in annotations.labels}
    videos: dict[str, set[str]] = {label: set() for label in annotations.labels}
    for video in annotations.videos.values():
        for segment in video.segments:
            lengths[segment.label].append(_length(segment.segment))
            videos[segment.label].add(video.id)
    return tuple(
        Group(label, len(videos[label]), len(found), median(found) if found else None)
        for label, found in lengths.items()
    )


def _overlapping(video: VideoAnnotations) -> int:
    """The number of segments that share time with another of the video."""
    found = set()
    latest_end, latest = float("-inf"), -1
    for place, (start, end) in enumerate(_pairs(video)):  # ordered by start
        if start < latest_end:
            found |= {place, latest}
        if end > latest_end:
            latest_end, latest = end, place
    return len(found)


def _pairs(video: VideoAnnotations) -> Iterable[tuple[float, float]]:
    return (segment.segment for segment in video.segments)


def _length(segment: tuple[float, float]) -> float:
    return segment[1] - segment[0]


def _quantiles(values: list[float]) -> tuple[float, ...]:
    import numpy as np  # here, so that `--help` does not wait for it

    return tuple(float(value) for value in np.quantile(values, QUANTILES)) if values else ()


def _percent(quantile: float) -> str:
    return {0.0: "shortest", 0.5: "median", 1.0: "longest"}.get(quantile, f"{quantile:.0%}")


def _table(title: str, groups: tuple[Group, ...], *, hours: bool = False) -> list[str]:
    width = max([len(title), *(len(group.name) for group in groups)])
    lines = [f"{title:<{width}}  videos  segments  median s" + ("   hours" if hours else "")]
    for group in groups:
        middle = "-" if group.median_seconds is None else f"{group.median_seconds:.2f}"
        line = f"{group.name:<{width}}  {group.videos:6}  {group.segments:8}  {middle:>8}"
        if hours:
            line += f"  {'-' if group.hours is None else format(group.hours, '.2f'):>6}"
        lines.append(line)
    return lines
