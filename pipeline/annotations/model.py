"""Ground truth as frozen values, all times in seconds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from pipeline.annotations.segments import Segment
from pipeline.errors import PipelineError

AMBIGUOUS = "Ambiguous"  # THUMOS14's label for segments that count neither for nor against a detection

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
    """Return the usual name of a subset: training, validation or testing.

    Ignores case and surrounding blanks. Any other name is returned in lower case.
    """
    lower = name.strip().lower()
    return _SUBSETS.get(lower, lower)


@dataclass(frozen=True)
class VideoAnnotations:
    """The ground truth of one video.

    Args:
        id: as in the file.
        subset: as the file spells it; empty if the file names none.
        duration: seconds, or None if unknown.
        fps: frames a second, or None.
        segments: ordered by start, then end; `0 <= start < end`, and `end <= duration` where known (unless read
            with `mend=False`).
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
        version: the file's version field; may be empty.
        videos: by video id, in the file's order.
        labels: the class names; a label's position is its class index. Ordered by the file's integer `label_id` if it
            has one, else by name.
        problems: what was fixed or looks odd, one line each, with counts and examples.
        dialect: the dialect of the file.
        faults: number of faults in subsets that are not in use; they are left out, and among the problems.
    """

    version: str
    videos: dict[str, VideoAnnotations]
    labels: tuple[str, ...]
    problems: tuple[str, ...] = ()
    dialect: str = "activitynet"
    faults: int = 0

    def subsets(self) -> dict[str, int]:
        """Return the number of videos in each subset, by the file's spelling."""
        return dict(Counter(video.subset for video in self.videos.values()))

    def in_subset(self, *names: str) -> Annotations:
        """Return the annotations of the named subsets only; labels keep their class index.

        Args:
            names: in any case; train/training, val/validation and test/testing are the same.

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
