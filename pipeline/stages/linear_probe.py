"""Measure features without a head: can a linear classifier tell foreground from background, snippet by snippet?

Scores cover all snippets, those near the boundaries of actions, and those away from them; several stores are compared
on the same videos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.annotations import Annotations, VideoAnnotations
from pipeline.annotations.segments import Segment
from pipeline.config import ProbeConfig
from pipeline.errors import PipelineError
from pipeline.progress import Report, silent
from pipeline.snippets import SnippetPlan
from pipeline.stages.ground_truth import annotations_for
from pipeline.stages.logistic_probe import learn_logistic
from pipeline.stages.probe_rotation import moved_scores, rotation_warning
from pipeline.stages.probe_views import ROTATED, View, views_of
from pipeline.storage.location import AnyPath
from pipeline.storage.read_files import sha256_of_file
from pipeline.store.feature_store import FeatureStore
from pipeline.text.plain import counted
from sola.evaluation import EvaluationConfig, EvaluationResult, LabeledSequence, Score, linear_evaluation
from sola.filters import filter_of


@dataclass(frozen=True)
class StoreScores:
    """The linear evaluation of one store, or of another view of it.

    Args:
        sola: whether a SoLa module made the features.
        view: "" for the store as it is, the name of a filter, or "rotated".
        scores: of the published evaluation.
        logistic: of the converged logistic regression; None if not asked for.
    """

    path: AnyPath
    fingerprint: str
    encoder: str
    sola: bool
    scores: EvaluationResult
    view: str = ""
    logistic: EvaluationResult | None = None

    @property
    def title(self) -> str:
        """Return the heading of its column: the store, or what was done to the first one."""
        return self.view or str(self.path)


@dataclass(frozen=True)
class ProbeResult:
    """The linear evaluation of several stores on the same videos.

    Args:
        stores: in the order given.
        videos: number of training videos, and of test videos.
        config: the settings.
        annotations_sha256: of the ground truth.
        notes: for the user, on the data.
    """

    stores: tuple[StoreScores, ...]
    videos: tuple[int, int]
    config: ProbeConfig
    annotations_sha256: str
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain values; scores are from 0 to 1, or null if they cover no snippet."""
        return {
            "settings": asdict(self.config),
            "annotations_sha256": self.annotations_sha256,
            "training_videos": self.videos[0],
            "test_videos": self.videos[1],
            "notes": list(self.notes),
            "stores": [
                {
                    "path": str(store.path),
                    "fingerprint": store.fingerprint,
                    "encoder": store.encoder,
                    "sola": store.sola,
                    **({"view": store.view} if store.view else {}),
                    "always_the_larger_class": store.scores.majority,
                    "scores": _as_json(store.scores),
                    **({"logistic": _as_json(store.logistic)} if store.logistic else {}),
                }
                for store in self.stores
            ],
        }


def probe(
    stores: Sequence[FeatureStore], annotations_file: Path, config: ProbeConfig, *, report: Report = silent
) -> ProbeResult:
    """Evaluate each store with linear classifiers, and the first one filtered, on the videos that all stores have.

    A snippet is foreground if its center lies in a segment. Snippets in segments marked ambiguous are left out.

    Args:
        stores: one or more.
        annotations_file: ground truth with the two subsets that `config` names.
        report: gets the share of stores done, 0 to 1.

    Raises:
        PipelineError, SolaError: no videos in common, a subset without videos, or only one class in it.
    """
    annotations, notes = annotations_for(
        stores[0],
        annotations_file,
        subsets=(config.train_subset, config.test_subset),
        tolerance_seconds=config.tolerance_seconds,
    )
    common = set.intersection(*(set(store.ids()) for store in stores))
    if left_out := len(set(stores[0].ids()) - common):
        notes.append(f"{counted(left_out, 'video')} of {stores[0].path} left out: not in all stores")
    chosen = []
    for subset in (config.train_subset, config.test_subset):
        videos = _videos_of(annotations, subset, common)
        if len(videos) > config.max_videos:
            notes.append(f"of {len(videos)} {subset} videos {config.max_videos} are used (max_videos)")
            videos = _some_of(videos, config.max_videos)
        chosen.append(videos)
    found = []
    views = views_of(stores, config)
    for number, view in enumerate(views):
        report(number / len(views), view.title)
        found.append(_evaluate(view, chosen[0], chosen[1], config))
    counts = (len(chosen[0]), len(chosen[1]))
    notes = [*rotation_warnings(found), *notes]
    return ProbeResult(tuple(found), counts, config, sha256_of_file(annotations_file), tuple(notes))


def measures(scores: EvaluationResult) -> dict[str, Score | None]:
    """Return the scores by name, in display order; None for a score that covers no snippet."""
    near = {f"accuracy_within_{distance}": score for distance, score in scores.near.items()}
    whole = {
        "accuracy": scores.accuracy,
        "balanced_accuracy": scores.balanced_accuracy,
        "average_precision": scores.average_precision,
    }
    return {**whole, **near, "accuracy_away": scores.away}


def rotation_warnings(stores: Sequence[StoreScores]) -> list[str]:
    """Return a warning if turning the channels changed a score by more than its deviation; else nothing."""
    turned = next((store for store in stores if store.view == ROTATED), None)
    if turned is None:
        return []
    plain = next(store for store in stores if store.path == turned.path and not store.view)
    moved = moved_scores(measures(plain.scores), measures(turned.scores))
    if plain.logistic is not None and turned.logistic is not None:
        of_logistic = moved_scores(measures(plain.logistic), measures(turned.logistic))
        moved += [f"logistic {text}" for text in of_logistic]
    return [rotation_warning(moved)] if moved else []


def probe_rows(result: ProbeResult) -> Iterator[list[str]]:
    """Yield the rows of a table: a measure, then the mean and deviation of each store in percent."""
    for kind, evaluations in (
        ("", [store.scores for store in result.stores]),
        ("logistic ", [store.logistic for store in result.stores if store.logistic is not None]),
    ):
        columns = [measures(scores) for scores in evaluations]
        for name in columns[0] if columns else ():
            yield [kind + name.replace("_", " "), *(_percent(column[name]) for column in columns)]
    yield ["always the larger class", *(f"{100 * store.scores.majority:.1f}" for store in result.stores)]


def _as_json(scores: EvaluationResult) -> dict[str, Any]:
    return {name: score and asdict(score) for name, score in measures(scores).items()}


def _percent(score: Score | None) -> str:
    return "-" if score is None else f"{100 * score.mean:.1f} ± {100 * score.deviation:.1f}"


def snippet_centers(plan: SnippetPlan, count: int) -> np.ndarray:
    """Return the seconds at the middle of each of `count` snippets, [T] float64."""
    return np.arange(count) * float(plan.stride_seconds) + float(plan.window_seconds / 2)


def inside(seconds: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """Return whether each time lies in one of the segments [start, end): bool, of the shape of `seconds`."""
    result = np.zeros(seconds.shape, dtype=bool)
    for segment in segments:
        start, end = segment.segment
        result |= (start <= seconds) & (seconds < end)
    return result


def _videos_of(annotations: Annotations, subset: str, common: set[str]) -> list[VideoAnnotations]:
    videos = [video for i, video in sorted(annotations.in_subset(subset).videos.items()) if i in common]
    if not videos:
        raise PipelineError(f"no video of subset {subset!r} is in all stores; extract some, or choose another subset")
    return videos


def _some_of(videos: list[VideoAnnotations], count: int) -> list[VideoAnnotations]:
    places = np.random.default_rng(0).choice(len(videos), count, replace=False)
    return [videos[place] for place in sorted(places)]


def _evaluate(
    view: View, train: list[VideoAnnotations], test: list[VideoAnnotations], config: ProbeConfig
) -> StoreScores:
    store = view.store
    train_pieces = [piece for video in train for piece in _labeled(store, video, view.change)]
    test_pieces = [piece for video in test for piece in _labeled(store, video, view.change)]
    if config.normalize == "center":
        mean = _mean(train_pieces)
        train_pieces, test_pieces = _less(train_pieces, mean), _less(test_pieces, mean)
    settings = EvaluationConfig(
        seeds=tuple(config.seeds), distances=tuple(sorted(set(config.distances))), weighting=config.weighting
    )
    streams = config.stream_channels or store.spec.stream_channels
    scores = linear_evaluation(train_pieces, test_pieces, settings, stream_channels=streams)
    logistic = None
    if config.logistic:
        logistic = linear_evaluation(train_pieces, test_pieces, settings, stream_channels=streams, learn=learn_logistic)
    encoder = str(store.spec.encoder.get("name", "unknown"))
    sola = store.spec.sola is not None and filter_of(store.spec.sola) is None
    return StoreScores(store.path, store.fingerprint(), encoder, sola, scores, view.kind, logistic)


def _labeled(
    store: FeatureStore,
    video: VideoAnnotations,
    change: Callable[[np.ndarray], np.ndarray] = lambda features: features,
) -> Iterator[LabeledSequence]:
    """Yield the video's snippets; ambiguous ones cut it into pieces, so that their removal makes no boundary."""
    sequence = store.read(video.id)
    features = change(sequence.features)
    centers = snippet_centers(sequence.plan, len(features))
    foreground = inside(centers, video.segments)
    unclear = inside(centers, video.ambiguous) & ~foreground
    cuts = np.flatnonzero(np.diff(unclear)) + 1
    for part in np.split(np.arange(len(features)), cuts):
        if len(part) and not unclear[part[0]]:
            yield LabeledSequence(features[part[0] : part[-1] + 1], foreground[part])


def _mean(pieces: list[LabeledSequence]) -> np.ndarray:
    """Return the mean row, [C] float64."""
    total = sum(piece.features.sum(axis=0, dtype=np.float64) for piece in pieces)
    return np.asarray(total) / max(1, sum(len(piece.features) for piece in pieces))


def _less(pieces: list[LabeledSequence], mean: np.ndarray) -> list[LabeledSequence]:
    return [replace(piece, features=(piece.features - mean).astype(np.float32)) for piece in pieces]
