"""What the writers of tools' files take: labeled stretches of time, by video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.annotations.segments import Detection, Segment
from pipeline.annotations.videos import VideoFacts
from pipeline.errors import PipelineError

Labeled = Segment | Detection


@dataclass(frozen=True)
class Video:
    """A video to write.

    Args:
        id: of the video.
        items: its segments or detections, by start.
        facts: of its file; None if unknown.
    """

    id: str
    items: tuple[Labeled, ...]
    facts: VideoFacts | None = None

    def name(self) -> str:
        """Return the file's name, or the id if it is unknown."""
        return self.facts.name if self.facts else self.id

    def known(self, tool: str) -> VideoFacts:
        """Return the facts.

        Raises:
            PipelineError: they are unknown, and `tool` needs them.
        """
        if self.facts is None:
            raise PipelineError(
                f"{tool} counts frames, and the rate of video {self.id!r} is not known; give its file (--videos FOLDER)"
            )
        return self.facts


def videos_of(labeled: Mapping[str, Iterable[Labeled]], facts: Mapping[str, VideoFacts]) -> list[Video]:
    """Return the videos in the given order, the items of each by start, then end and label."""
    return [
        Video(name, tuple(sorted(items, key=lambda item: (*item.segment, item.label))), facts.get(name))
        for name, items in labeled.items()
    ]


def labels_of(videos: Sequence[Video]) -> list[str]:
    """Return all labels, sorted."""
    return sorted({item.label for video in videos for item in video.items})


def lanes(items: Iterable[Labeled], *, apart: bool = False) -> Iterator[tuple[int, Labeled]]:
    """Yield the items, ordered by start, each with the first lane in which it overlaps none before it.

    Args:
        apart: keep items that touch in different lanes, too.
    """
    ends: list[float] = []
    for item in items:
        start, end = item.segment
        lane = next(
            (number for number, until in enumerate(ends) if until < start or (until == start and not apart)), len(ends)
        )
        ends[lane:] = [end] if lane == len(ends) else [end, *ends[lane + 1 :]]
        yield lane, item


def frames_of(item: Labeled, facts: VideoFacts) -> tuple[int, int]:
    """Return the frames (first, after the last) of an item, at least one, inside the video."""
    start, end = (round(bound * facts.fps) for bound in item.segment)
    first = min(max(start, 0), max(facts.frames - 1, 0))
    return first, min(max(end, first + 1), max(facts.frames, first + 1))
