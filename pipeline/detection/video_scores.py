"""Class scores of whole videos, as published for classifiers, and labels for class-agnostic proposals."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.annotations.match import find_name, names_by_form
from pipeline.annotations.segments import Detection
from pipeline.errors import PipelineError
from pipeline.storage.npy import read_npy
from pipeline.storage.read_files import read_json, read_text
from pipeline.text.plain import counted

_FORMS = (
    'accepted are {id: {label: score}} or {"results": {id: [scores]}, "class": [labels]} as .json, or an array '
    "[videos, classes] as .npy with NAME.videos.txt and NAME.labels.txt beside it, one id or label a line"
)
_MOST = 1e12  # products of larger scores overflow
# UntrimmedNet's scores for THUMOS14: a row for each test video, a column for each class of UCF101.
_THUMOS14_SHAPE = (1574, 101)
# The positions, from 1, of THUMOS14's twenty classes among the classes of UCF101 in alphabetical order.
_THUMOS14_CLASSES = {
    7: "BaseballPitch",
    9: "BasketballDunk",
    12: "Billiards",
    21: "CleanAndJerk",
    22: "CliffDiving",
    23: "CricketBowling",
    24: "CricketShot",
    26: "Diving",
    31: "FrisbeeCatch",
    33: "GolfSwing",
    36: "HammerThrow",
    40: "HighJump",
    45: "JavelinThrow",
    51: "LongJump",
    68: "PoleVault",
    79: "Shotput",
    85: "SoccerPenalty",
    92: "TennisSwing",
    93: "ThrowDiscus",
    97: "VolleyballSpiking",
}


def read_video_scores(path: Path) -> dict[str, dict[str, float]]:
    """Return class scores of whole videos by id and label, all finite and >= 0.

    Args:
        path: `{id: {label: score}}` or `{"results": {id: [scores]}, "class": [labels]}` (as CUHK's for ActivityNet)
            as JSON; or an array [videos, classes] as .npy, with `NAME.videos.txt` and `NAME.labels.txt` beside it
            that name its rows and columns, one a line. An array of 1574 x 101 without these files is UntrimmedNet's
            for the test videos of THUMOS14.

    Raises:
        PipelineError: the file is absent or has another form, an id or label appears twice, or a score is negative.
    """
    if path.suffix.lower() not in (".json", ".npy"):
        raise PipelineError(f"video scores: {path} must be .json or .npy; {_FORMS}")
    scores = _from_array(path) if path.suffix.lower() == ".npy" else _from_json(path)
    for video, by_label in scores.items():
        for label, score in by_label.items():
            if not 0 <= score <= _MOST:  # also refuses NaN
                raise PipelineError(
                    f"video scores: {path}: {label!r} of video {video!r} must be finite and >= 0 (a probability, not a "
                    f"logit), got {score}"
                )
    return scores


def scores_for(scores: Mapping[str, Mapping[str, float]], ids: Sequence[str]) -> dict[str, Mapping[str, float]]:
    """Return the scores of the videos `ids`; names may differ by ActivityNet's prefix `v_`, or in code points.

    Raises:
        PipelineError: a video has no scores.
    """
    forms = names_by_form(scores)
    names = {i: find_name(i, forms) for i in ids}
    if missing := sorted(i for i, name in names.items() if name is None):
        known = ", ".join(sorted(scores)[:3])
        raise PipelineError(
            f"video scores: {len(missing)} of {len(ids)} videos have none, for example {missing[0]}; there are scores "
            f"for {counted(len(scores), 'video')} ({known}{', …' if len(scores) > 3 else ''})"
        )
    return {i: scores[name] for i, name in names.items() if name is not None}


def name_proposals(
    proposals: Sequence[Detection],
    class_scores: Mapping[str, float],
    *,
    top_classes: int = 2,
    max_detections: int = 200,
) -> list[Detection]:
    """Return every proposal with each of the video's `top_classes` best classes, best first, at most `max_detections`.

    The score is the geometric mean of the proposal's score and the class score. Equal scores: the better proposal
    first, then the better class; of equally good classes the first in sorted order.

    Args:
        proposals: of one video; their labels are ignored.
        class_scores: of the same video, >= 0 each.
    """
    if top_classes < 1 or max_detections < 1:
        raise PipelineError(f"top_classes and max_detections must be >= 1, got {top_classes} and {max_detections}")
    bad = {label: score for label, score in class_scores.items() if not score >= 0}
    if bad:
        raise PipelineError(f"class_scores must be >= 0 (probabilities, not logits), got {bad}")
    best = sorted(sorted(class_scores), key=lambda label: -class_scores[label])[:top_classes]
    named = [
        Detection(proposal.segment, label, math.sqrt(proposal.score * class_scores[label]))
        for proposal in sorted(proposals, key=lambda proposal: -proposal.score)
        for label in best
    ]
    return sorted(named, key=lambda detection: -detection.score)[:max_detections]


def _from_json(path: Path) -> dict[str, dict[str, float]]:
    value = read_json(path, what="video scores")
    if isinstance(value, dict) and isinstance(value.get("results"), dict) and ("class" in value or "classes" in value):
        labels = _names(value.get("class", value.get("classes")), f'{path}, "class"')
        value = {video: _with_labels(path, video, labels, row) for video, row in value["results"].items()}
    if not isinstance(value, dict) or not all(isinstance(scores, dict) for scores in value.values()):
        raise PipelineError(f"video scores: {path} is of another form; {_FORMS}")
    try:
        return {i: {label: float(score) for label, score in scores.items()} for i, scores in value.items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise PipelineError(f"video scores: {path} must hold numbers: {error}") from None


def _with_labels(path: Path, video: str, labels: list[str], row: Any) -> dict[str, Any]:
    if not isinstance(row, list) or len(row) != len(labels):
        size = f"{len(row)}" if isinstance(row, list) else type(row).__name__
        raise PipelineError(f"video scores: {path}: video {video!r} must have {len(labels)} scores, got {size}")
    return dict(zip(labels, row, strict=True))


def _from_array(path: Path) -> dict[str, dict[str, float]]:
    array = _read_array(path)
    lists = [path.with_suffix(f".{what}.txt") for what in ("videos", "labels")]
    if not any(file.exists() for file in lists) and array.shape == _THUMOS14_SHAPE:
        videos = [f"video_test_{number:07d}" for number in range(1, len(array) + 1)]
        labels = list(_THUMOS14_CLASSES.values())
        array = array[:, [place - 1 for place in _THUMOS14_CLASSES]]
    else:
        videos, labels = (_read_names(file, of=path, count=n) for file, n in zip(lists, array.shape, strict=True))
    return {video: dict(zip(labels, row, strict=True)) for video, row in zip(videos, array.tolist(), strict=True)}


def _read_array(path: Path) -> np.ndarray:
    array = read_npy(path, what="video scores")
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise PipelineError(
            f"video scores: {path} must be an array of numbers [videos, classes], got {list(array.shape)} of "
            f"{array.dtype}"
        )
    return array


def _read_names(file: Path, *, of: Path, count: int) -> list[str]:
    if not file.exists():
        raise PipelineError(f"video scores: {of} needs {file.name} beside it, {count} lines; {_FORMS}")
    names = _names(read_text(file, what="video scores").splitlines(), str(file))
    if len(names) != count:
        raise PipelineError(f"video scores: {file} must have {count} lines, as many as {of.name} has, got {len(names)}")
    return names


def _names(values: Any, where: str) -> list[str]:
    """Return the values as names, none empty, each once.

    Raises:
        PipelineError: they are not.
    """
    if not isinstance(values, list) or not all(isinstance(name, str) and name.strip() for name in values):
        raise PipelineError(f"video scores: {where} must hold names, none of them empty")
    names = [name.strip() for name in values]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise PipelineError(f"video scores: {where} has {twice[0]!r} twice; keep one of the two")
    return names
