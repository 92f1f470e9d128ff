"""What a report knows, from whatever source: videos, detections, ground truth, and what a run adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.annotations import Annotations
from pipeline.annotations.segments import Detection, Segment
from pipeline.snippets import exact
from pipeline.stages.evaluate import Evaluation
from pipeline.stages.run_record import StageRecord
from pipeline.store.feature_store import FeatureStore
from pipeline.store.records import FailureRecord, VideoDetails

if TYPE_CHECKING:  # these load torch
    from pipeline.report.curves import HeadCurve, SolaCurve
    from pipeline.stages.linear_probe import ProbeResult

WITH, WITHOUT = "with SoLa", "without SoLa"


@dataclass(frozen=True)
class VideoFact:
    """A video of the report.

    Args:
        id: of the video.
        path: its file, or None if it is unknown or lies in object storage.
        frame_rate: pictures a second, if the path is a folder of numbered pictures.
        seconds: duration; None if unknown.
        rows: number of snippets; 0 without features.
        failure: "kind: reason" if it could not be used, else empty.
        seen_in_training: whether the head was trained on it.
    """

    id: str
    path: Path | None
    seconds: float | None
    rows: int = 0
    failure: str = ""
    seen_in_training: bool = False
    frame_rate: Fraction | None = None


@dataclass(frozen=True)
class RunParts:
    """What only the folder of a run has.

    Args:
        settings: of the run, by stage; empty if run.json has none.
        stages: seconds, memory and one line of text of each stage, in the order in which they ran.
        store: the plain features.
        enhanced: the features after SoLa; None without it.
        linear: the linear evaluation of the stores; None if not requested or impossible.
        failures: the recorded failures of extraction, by video id.
        sola: the curve of SoLa's fit; None without it.
    """

    settings: Mapping[str, Any]
    stages: Mapping[str, StageRecord]
    store: FeatureStore
    enhanced: FeatureStore | None
    linear: ProbeResult | None
    failures: Mapping[str, FailureRecord]
    sola: SolaCurve | None


@dataclass(frozen=True)
class FoundKinds:
    """Pictures that `segment` made, which has no labels: (title, file) of each.

    Attributes:
        sheets: of each kind, what it looks like.
        videos: the self-similarity of each video.
        map: all segments on a plane; None if it was not drawn.
    """

    sheets: Sequence[tuple[str, Path]]
    videos: Sequence[tuple[str, Path]]
    map: Path | None


@dataclass(frozen=True)
class ComparedMethods:
    """What `compare` found: one sentence, a table, what failed and how it was counted, and a picture."""

    sentence: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str]
    picture: Path


@dataclass(frozen=True)
class ReportFacts:
    """All that a report shows.

    Args:
        title: of the page.
        videos: in the order of the list.
        annotations: the ground truth under the ids of the videos, and its file; None without it.
        detections: of each way ("with SoLa", "without SoLa", or a file's name), by video id; the main one first.
        evaluations: of each way; empty without ground truth.
        heads: training curves of the heads, by way.
        notes: what is missing from the report, and why.
        run: what only a run has.
        kinds: what only segments without labels have.
        compared: what only the folder of `compare` has.
        shown_score: from where on detections are shown at first; None: chosen from ground truth or their number.
    """

    title: str
    videos: Sequence[VideoFact]
    annotations: Annotations | None
    annotations_file: Path | None
    detections: Mapping[str, Mapping[str, list[Detection]]]
    evaluations: Mapping[str, Evaluation]
    heads: Mapping[str, HeadCurve] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    run: RunParts | None = None
    kinds: FoundKinds | None = None
    compared: ComparedMethods | None = None
    shown_score: float | None = None

    def truth(self, video_id: str) -> tuple[Segment, ...]:
        """Return the annotated segments of a video; none if it has no annotations."""
        video = self.annotations.videos.get(video_id) if self.annotations else None
        return tuple(video.segments) if video else ()

    def subset(self, video_id: str) -> str:
        """Return the subset of a video; empty if it is unknown."""
        video = self.annotations.videos.get(video_id) if self.annotations else None
        return video.subset if video else ""

    def labels(self) -> list[str]:
        """Return the classes: those of the annotations in order, then those that only detections have."""
        labels = list(self.annotations.labels) if self.annotations else []
        found = {d.label for videos in self.detections.values() for items in videos.values() for d in items}
        return [*labels, *sorted(found - set(labels))]


def frame_rate_of(sidecar: VideoDetails) -> Fraction | None:
    """Return the pictures a second of a video that is a folder of pictures; None for a file."""
    rate = (sidecar.get("source") or {}).get("frame_rate")
    return None if rate is None else exact(rate)


def local_path(path: object) -> Path | None:
    """Return a recorded path if it names a local file, else None (unknown, or in object storage)."""
    return Path(str(path)) if path is not None and "://" not in str(path) else None
