"""Stage: detections + ground truth → mean average precision, as a table and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.annotations import adopt_ids, read_annotations
from pipeline.config import EvaluateConfig
from pipeline.detections import read_detections
from pipeline.errors import PipelineError
from pipeline.localization.metrics import ACTIVITYNET_TIOUS, THUMOS_TIOUS, MapResult, evaluate_map


@dataclass
class Evaluation:
    """mAP for each threshold set by name, and what to know about the match of detections and ground truth."""

    results: dict[str, MapResult]
    subset: str
    videos: int
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """One line: the average mAP of each threshold set."""
        scores = ", ".join(f"{name} {100 * result.average:.1f}%" for name, result in self.results.items())
        return f"average mAP on {self.videos} videos: {scores}"

    def as_json(self) -> dict[str, Any]:
        """The evaluation as plain values, with the protocol stated."""
        return {
            "protocol": "ActivityNet: greedy matching to the free segment of highest tIoU, interpolated AP, "
            "detections on videos without ground truth of the class are false positives",
            "subset": self.subset,
            "videos": self.videos,
            "notes": self.notes,
            **{name: _result_as_json(result) for name, result in self.results.items()},
        }


def evaluate(detections_file: Path, annotations_file: Path, config: EvaluateConfig) -> Evaluation:
    """Compares detections with the ground truth of a subset.

    Detections of videos outside the subset are left out (and counted): a model is usually applied to all videos.

    Raises:
        PipelineError: unreadable files, an empty subset, no detections for any of its videos.
    """
    detections = read_detections(detections_file)
    annotations = adopt_ids(read_annotations(annotations_file), detections)
    chosen = annotations if config.subset == "all" else annotations.in_subset(config.subset)
    truth = {video_id: video.segments for video_id, video in chosen.videos.items()}
    found = {video_id: items for video_id, items in detections.items() if video_id in truth}
    if not found:
        raise PipelineError(
            f"none of the {len(detections)} videos in {detections_file} is in subset {config.subset!r} of "
            f"{annotations_file}; choose another --subset"
        )
    notes = list(annotations.problems)
    if missing := sorted(truth.keys() - found.keys()):
        notes.append(f"{len(missing)} videos of the subset have no detections: all missed (e.g. {missing[0]})")
    if others := detections.keys() - truth.keys():
        notes.append(f"detections of {len(others)} videos outside the subset are left out")
    sets = {"activitynet": ACTIVITYNET_TIOUS, "thumos": THUMOS_TIOUS}
    if config.tious:
        sets["own"] = tuple(config.tious)
    results = {name: evaluate_map(truth, found, tious=tious) for name, tious in sets.items()}
    if unknown := results["activitynet"].unknown_class_detections:
        notes.append(f"{unknown} detections of classes that the ground truth of the subset does not have are ignored")
    return Evaluation(results, config.subset, len(truth), notes)


def _result_as_json(result: MapResult) -> dict[str, Any]:
    return {
        "tious": list(result.tious),
        "map": [float(value) for value in result.map],
        "average_map": float(result.average),
        "per_class": {
            label: {"segments": int(result.segments[k]), "ap": [float(value) for value in result.per_class[k]]}
            for k, label in enumerate(result.labels)
        },
        "detections": result.detections,
    }
