"""What ground truth is, once it has been read: plain frozen values, all times in seconds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from pipeline.annotations.segments import Segment
from pipeline.errors import PipelineError

AMBIGUOUS = "Ambiguous"  # THUMOS14's label for stretches that count neither for nor against a detection

_SUBSETS = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "testing",
    "testing": "testing",
}


def canonical_subset(name: str) -> str:
    """One spelling for the subsets that files spell differently: training, validation or testing.

    Case and surrounding blanks do not matter; any other name comes back in lower case.
    """
    lower = name.strip().lower()
    return _SUBSETS.get(lower, lower)


@dataclass(frozen=True)
class VideoAnnotations:
    """The ground truth of one video.

    Args:
        id: the video's id, as in the file.
        subset: the subset as the file spells it; empty where the file names none.
        duration: seconds, or None where the file does not say.
        fps: frames a second, or None.
        segments: ordered by start, then end; ``0 <= start < end``, and ``end <= duration`` where that is known (unless
            they were read as the file has them).
        ambiguous: segments labeled "Ambiguous" (THUMOS14), kept apart from the classes.
        frames: number of frames, or None.
    """

    id: str
    subset: str
    duration: float | None
    fps: float | None
    segments: tuple[Segment, ...]
    ambiguous: tuple[Segment, ...] = ()
    frames: int | None = None


@dataclass(frozen=True)
class Annotations:
    """The ground truth of a data set.

    Args:
        version: what the file says of itself; may be empty.
        videos: by video id, in the file's order.
        labels: the class names; a label's place is its class index. In the order of the file's integer
            ``label_id`` where it has one, else sorted by name.
        problems: what was mended or looks odd, one line each, with counts and examples.
        dialect: the form in which the file was written.
    """

    version: str
    videos: dict[str, VideoAnnotations]
    labels: tuple[str, ...]
    problems: tuple[str, ...] = ()
    dialect: str = "activitynet"

    def subsets(self) -> dict[str, int]:
        """The number of videos of each subset, as the file spells it."""
        return dict(Counter(video.subset for video in self.videos.values()))

    def in_subset(self, *names: str) -> Annotations:
        """The same annotations with the videos of the named subsets only; labels keep their class index.

        Args:
            names: case does not matter; train/training, val/validation and test/testing are the same.

        Raises:
            PipelineError: no video is in one of them.
        """
        wanted = {canonical_subset(name): name for name in names}
        present = {canonical_subset(name) for name in self.subsets()}
        for canonical, name in wanted.items():
            if canonical not in present:
                found = ", ".join(f"{subset or '(none)'} ({n})" for subset, n in sorted(self.subsets().items()))
                raise PipelineError(f"annotations: no video of subset {name!r}; the file has {found or 'no videos'}")
        chosen = {i: video for i, video in self.videos.items() if canonical_subset(video.subset) in wanted}
        return replace(self, videos=chosen)
