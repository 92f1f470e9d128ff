"""Stage: detections + ground truth → mean average precision, as a table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pipeline.annotations import VideoAnnotations, adopt_ids, read_annotations
from pipeline.annotations.detections import read_detections
from pipeline.annotations.segments import Detection, Segment
from pipeline.errors import PipelineError
from pipeline.metrics.config import EvaluateConfig
from pipeline.metrics.error_analysis import ErrorAnalysis, analyse_errors
from pipeline.metrics.map import (
    ACTIVITYNET_LENGTHS_SECONDS,
    ACTIVITYNET_TIOUS,
    THUMOS_LENGTHS_SECONDS,
    THUMOS_TIOUS,
    LengthResult,
    MapResult,
    evaluate_by_length,
    evaluate_map,
)
from pipeline.metrics.proposals import RecallResult, average_recall
from pipeline.metrics.protocols import AMBIGUOUS_LABEL, Protocol, find_protocol
from pipeline.storage.read_files import read_json, read_text
from pipeline.text.plain import counted, first_of


@dataclass
class Evaluation:
    """The result of comparing detections with ground truth.

    Args:
        results: mAP by name of the threshold set.
        subset: of the annotations.
        videos: number of videos in it.
        notes: for the user, on how detections and ground truth match.
        recall, lengths, errors: with --diagnose; else None.
        truth, found: the segments and detections that were compared, by video id.
    """

    results: dict[str, MapResult]
    subset: str
    videos: int
    notes: list[str] = field(default_factory=list)
    recall: RecallResult | None = None
    lengths: LengthResult | None = None
    errors: ErrorAnalysis | None = None
    truth: Mapping[str, Sequence[Segment]] = field(default_factory=dict, repr=False)
    found: Mapping[str, Sequence[Detection]] = field(default_factory=dict, repr=False)

    def text(self) -> str:
        """Return one line: the average mAP of each threshold set."""
        scores = ", ".join(f"{name} {100 * result.average:.1f}%" for name, result in self.results.items())
        return f"average mAP on {counted(self.videos, 'video')}: {scores}"

    def as_json(self) -> dict[str, Any]:
        """Return the evaluation as plain values, with the rules of the protocol."""
        result = next(iter(self.results.values()))
        value = {
            "protocol": result.protocol,
            "rules": list(result.rules),
            "subset": self.subset,
            "videos": self.videos,
            "notes": self.notes,
            **{name: _result_as_json(result) for name, result in self.results.items()},
        }
        details = {"recall": self.recall, "lengths": self.lengths, "errors": self.errors}
        return value | {name: _plain(asdict(detail)) for name, detail in details.items() if detail is not None}


def evaluate(detections_file: Path, annotations_file: Path, config: EvaluateConfig) -> Evaluation:
    """Compare detections with the ground truth of a subset.

    `config.protocol` decides about detections of videos outside the subset: published code counts them as false
    positives; this project's own protocol leaves them out, since a model is usually applied to all videos. The notes
    say which.

    Raises:
        PipelineError: a file is unreadable, the subset is empty, or none of its videos has detections.
    """
    detections = read_detections(detections_file)
    protocol = find_protocol(config.protocol)
    annotations = adopt_ids(
        read_annotations(
            annotations_file,
            tolerance_seconds=config.tolerance_seconds,
            subsets=None if config.subset == "all" else (config.subset,),
            mend=not protocol.counts_other_videos,
        ),
        detections,
    )
    chosen = annotations if config.subset == "all" else annotations.in_subset(config.subset)
    blocked = _blocked(config.blocked_videos, {*chosen.videos, *detections})
    videos = {i: video for i, video in chosen.videos.items() if i not in blocked}
    truth = {i: [*v.segments, *_ambiguous(v, protocol)] for i, v in videos.items()}
    found = {i: rows for i, rows in detections.items() if i not in blocked}
    if not detections:
        raise PipelineError(f"detections {detections_file}: it has no videos")
    if not truth.keys() & found.keys():
        raise PipelineError(
            f"no video of {detections_file} ({first_of(sorted(detections))}) is in subset "
            f"{config.subset!r} of {annotations_file} ({first_of(sorted(truth))}); choose another --subset, or make "
            "the ids agree"
        )
    if not any(truth.values()):
        raise PipelineError(
            f"{annotations_file} has no segments in the {counted(len(truth), 'video')} of subset {config.subset!r}"
        )
    sets = {"activitynet": ACTIVITYNET_TIOUS, "thumos": THUMOS_TIOUS}
    if config.tious:
        sets["own"] = tuple(config.tious)
    results = {name: evaluate_map(truth, found, tious=tious, protocol=config.protocol) for name, tious in sets.items()}
    notes = [*annotations.problems, *_notes(videos, found, results["activitynet"], protocol)]
    if left_out := blocked & chosen.videos.keys():
        notes.append(f"{counted(len(left_out), 'blocked video', 'is', 'are')} left out")
    evaluation = Evaluation(results, config.subset, len(truth), notes, truth=truth, found=found)
    if config.diagnose:
        bounds = _length_bounds(truth)
        evaluation.recall = average_recall(truth, found, protocol=config.protocol)
        evaluation.lengths = evaluate_by_length(truth, found, bounds_seconds=bounds, protocol=config.protocol)
        evaluation.errors = analyse_errors(truth, found, bounds_seconds=bounds, protocol=config.protocol)
    return evaluation


def _notes(
    videos: Mapping[str, VideoAnnotations], found: Collection[str], result: MapResult, protocol: Protocol
) -> Iterator[str]:
    """Yield notes on how detections and ground truth match, and on what was left out of either."""
    if missing := sorted(videos.keys() - found):
        yield f"no detections in {counted(len(missing), 'video')} of the subset: all missed (e.g. {missing[0]})"
    if others := set(found) - videos.keys():
        text = f"detections of {counted(len(others), 'video')} outside the subset"
        if protocol.counts_other_videos:
            yield f"{text} are false positives, as in the code of {result.protocol}; --protocol sola leaves them out"
        else:
            yield f"{text} are left out"
    if result.short_removed:
        yield f"left out as too short for the protocol: {counted(result.short_removed, 'segment')} of the ground truth"
    if result.duplicates_removed:
        yield f"left out: {counted(result.duplicates_removed, 'repeated segment')} of the ground truth"
    ambiguous = sum(len(video.ambiguous) for video in videos.values())
    if ambiguous and not protocol.forgives_ambiguous:
        many = counted(ambiguous, "segment")
        yield f"left out: {many} labeled Ambiguous (--protocol thumos takes them into account)"
    if unknown := result.unknown_class_detections:
        many = counted(unknown, "detection")
        yield f"ignored: {many} of classes that the ground truth of the subset does not have"


def _blocked(file: Path | None, videos: Collection[str]) -> set[str]:
    """Return those of `videos` that `file` lists, with or without ActivityNet's prefix."""
    if file is None:
        return set()
    read = read_json if file.suffix.lower() == ".json" else read_text
    listed = read(file, what="blocked videos")
    if isinstance(listed, str):
        listed = listed.split()
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise PipelineError(f"blocked videos: {file} must be a JSON list of ids, or a text file of one id a line")
    names = {name.removeprefix("v_") for name in listed}
    return {video for video in videos if video.removeprefix("v_") in names}


def _ambiguous(video: VideoAnnotations, protocol: Protocol) -> Sequence[Segment]:
    """Return the ambiguous segments, if the protocol has a rule for them."""
    return video.ambiguous if protocol.forgives_ambiguous else ()


def _length_bounds(truth: Mapping[str, Sequence[Segment]]) -> tuple[float, ...]:
    """Return the bounds of the lengths XS to L: ActivityNet's if the segments are long, else THUMOS14's."""
    segments = (s for rows in truth.values() for s in rows if s.label != AMBIGUOUS_LABEL)
    lengths = [s.segment[1] - s.segment[0] for s in segments]
    return ACTIVITYNET_LENGTHS_SECONDS if lengths and median(lengths) > 20 else THUMOS_LENGTHS_SECONDS


def _plain(value: Any) -> Any:
    """Return the value as JSON has it: lists for arrays and tuples, null for NaN (a length without segments)."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


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
        "duplicates_removed": result.duplicates_removed,
        "short_removed": result.short_removed,
    }
