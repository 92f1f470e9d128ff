"""Stage: feature store → segments of its videos, grouped into kinds, without labels.

OUT/annotations.json        the segments, with their kinds as labels
OUT/segments.json           settings, kinds, and how well the number of kinds fits
OUT/kinds/                  a contact sheet of each kind
OUT/self_similarity/        a picture of each video with its segments
OUT/map.png                 all segments on a plane
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.annotations import Annotations, VideoAnnotations, write_annotations
from pipeline.annotations.segments import Segment
from pipeline.progress import Report, silent
from pipeline.segmentation.config import SegmentConfig
from pipeline.segmentation.cut import cut_video
from pipeline.segmentation.kinds import Kinds, find_kinds
from pipeline.segmentation.plane import on_plane
from pipeline.stages.usable_features import usable_features
from pipeline.storage.atomic_files import write_json
from pipeline.store.feature_store import FeatureStore
from pipeline.text.plain import counted

ANNOTATIONS_NAME = "annotations.json"


@dataclass(frozen=True)
class FoundSegment:
    """A segment without a label.

    Args:
        segment: (start, end) in seconds.
        kind: its kind, 1 to K; kind 1 lasts longest in all.
        likeness: the cosine of its mean direction and that of its kind.
        place: on the plane of all segments' principal axes.
    """

    segment: tuple[float, float]
    kind: int
    likeness: float
    place: tuple[float, float] = (0.0, 0.0)


@dataclass
class Segmented:
    """The segments by video id, in order; the durations; the videos that failed (id → reason)."""

    videos: dict[str, list[FoundSegment]] = field(default_factory=dict)
    durations: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    silhouettes: dict[int, float] = field(default_factory=dict)

    def of_kind(self, kind: int) -> list[tuple[str, FoundSegment]]:
        """Return the segments of a kind with their videos, the most typical first."""
        of = [(i, one) for i, segments in self.videos.items() for one in segments if one.kind == kind]
        return sorted(of, key=lambda pair: -pair[1].likeness)

    @property
    def kinds(self) -> int:
        """The number of kinds."""
        return max((one.kind for segments in self.videos.values() for one in segments), default=0)

    def facts_of_kinds(self) -> dict[str, dict[str, float]]:
        """Return of each label: segments, videos, seconds, and the mean likeness of the segments to their kind."""
        facts = {}
        for kind in range(1, self.kinds + 1):
            of = self.of_kind(kind)
            facts[label_of(kind)] = {
                "segments": len(of),
                "videos": len({video_id for video_id, _ in of}),
                "seconds": round(sum(one.segment[1] - one.segment[0] for _, one in of), 3),
                "likeness": round(float(np.mean([one.likeness for _, one in of])), 4),
            }
        return facts

    def text(self) -> str:
        """Return one line of counts."""
        number = sum(map(len, self.videos.values()))
        seconds = sum(self.durations.values()) / max(1, number)
        return (
            f"{counted(number, 'segment')} of {seconds:.1f} s on average, {counted(self.kinds, 'kind')}, in "
            f"{counted(len(self.videos), 'video')}, {len(self.failed)} failed"
        )


def segment(store: FeatureStore, config: SegmentConfig, *, report: Report = silent) -> Segmented:
    """Cut the videos of a store into segments and group these into kinds; a video that cannot be read is listed.

    Args:
        report: gets the share of videos done, 0 to 1.

    Raises:
        PipelineError: no video of the store can be read.
    """
    usable = usable_features(store)
    result = Segmented(failed=usable.failed)
    cut: dict[str, list[tuple[float, float]]] = {}
    means = []
    for number, sequence in enumerate(store.sequences(usable.ids)):
        video = cut_video(sequence, usable.mean, price=config.boundary_price)
        cut[sequence.id] = video.segments
        means.append(video.means)
        result.durations[sequence.id] = sequence.duration_seconds
        report((number + 1) / len(usable.ids), f"{number + 1}/{len(usable.ids)} videos")
    videos = np.repeat(np.arange(len(means)), [len(one) for one in means])
    directions = np.concatenate(means)
    kinds = find_kinds(directions, videos, config.kinds)
    result.silhouettes = kinds.silhouettes
    result.videos = _grouped(cut, kinds, on_plane(directions))
    return result


def write_segments(out: Path, found: Segmented, store: FeatureStore, config: SegmentConfig) -> Path:
    """Write the annotations and what is known of the kinds; return the file of the annotations."""
    videos = {
        video_id: VideoAnnotations(
            id=video_id,
            subset="training",
            duration=found.durations[video_id],
            fps=None,
            segments=tuple(Segment(one.segment, label_of(one.kind)) for one in found.videos[video_id]),
        )
        for video_id in sorted(found.videos)
    }
    labels = tuple(label_of(kind) for kind in range(1, found.kinds + 1))
    out.mkdir(parents=True, exist_ok=True)
    write_annotations(out / ANNOTATIONS_NAME, Annotations("without-labels-1", videos, labels))
    write_json(out / "segments.json", _facts(found, store, config))
    return out / ANNOTATIONS_NAME


def label_of(kind: int) -> str:
    """Return the label of a kind."""
    return f"kind {kind}"


def _facts(found: Segmented, store: FeatureStore, config: SegmentConfig) -> dict[str, Any]:
    return {
        "settings": asdict(config),
        "features": store.fingerprint(),
        "kinds": found.facts_of_kinds(),
        "silhouettes": {str(number): round(value, 4) for number, value in found.silhouettes.items()},
        "failed": found.failed,
    }


def _grouped(
    cut: dict[str, list[tuple[float, float]]], kinds: Kinds, places: NDArray[np.float64]
) -> dict[str, list[FoundSegment]]:
    """Return the segments of each video, with the kinds numbered by their total length."""
    pieces = [(video_id, piece) for video_id, segments in cut.items() for piece in segments]
    seconds = np.bincount(kinds.labels, [end - start for _, (start, end) in pieces])
    rank = np.argsort(np.argsort(-seconds, kind="stable"), kind="stable")
    found: dict[str, list[FoundSegment]] = {video_id: [] for video_id in cut}
    for (video_id, piece), kind, likeness, (x, y) in zip(pieces, kinds.labels, kinds.likeness, places, strict=True):
        found[video_id].append(FoundSegment(piece, int(rank[kind]) + 1, float(likeness), (float(x), float(y))))
    return found
