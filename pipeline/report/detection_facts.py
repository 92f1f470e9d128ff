"""The facts of a report on any detections: with their videos, and with ground truth if there is any."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.annotations import Annotations, adopt_ids, canonical_subset, read_annotations
from pipeline.annotations.detections import read_detections
from pipeline.annotations.match import find_name, names_by_form
from pipeline.annotations.segments import Detection
from pipeline.errors import PipelineError
from pipeline.metrics.config import EvaluateConfig
from pipeline.report.facts import ReportFacts, VideoFact, frame_rate_of, local_path
from pipeline.report.found_kinds import read_found_kinds
from pipeline.stages.evaluate import Evaluation, evaluate
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore
from pipeline.text.plain import counted
from pipeline.video.find import find_videos

# What is evaluated on: the first of these subsets with segments and detections; all videos if there is none.
_SUBSETS = ("validation", "testing")


@dataclass(frozen=True)
class Given:
    """What a report on detections is made of.

    Args:
        detections: files in ActivityNet's submission format; the first is the main one. None: annotations alone.
        videos: video files, folders, lists, or one feature store; may be empty.
        annotations: ground truth, or None.
        training_ids: videos that the head was trained on, if its model says so.
        failed: videos that could not be used, with reasons.
        located: detections that were found just now, by video id, and the file that names them; in place of files.
        shown_score: from where on detections are shown at first; None: chosen from ground truth or their number.
        names: of the detections. Default: those of their files.
        frame_rate: takes folders of numbered pictures among the videos as videos, at this many pictures a second.
    """

    detections: Sequence[Path]
    videos: Sequence[AnyPath] = ()
    annotations: Path | None = None
    training_ids: Collection[str] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    located: tuple[Path, Mapping[str, list[Detection]]] | None = None
    shown_score: float | None = None
    names: Sequence[str] = ()
    frame_rate: float | None = None

    @property
    def main(self) -> Path:
        """The file that gives the report its name."""
        if self.located is not None:
            return self.located[0]
        file = next(iter(self.detections), self.annotations)
        assert file is not None, "there are detections or annotations"
        return file

    def read(self) -> dict[str, Mapping[str, list[Detection]]]:
        """Return the detections of each way."""
        if self.located is not None:
            return {self.located[0].stem: self.located[1]}
        names = self.names or _names(self.detections)
        return {way: read_detections(file) for way, file in zip(names, self.detections, strict=True)}


def given_of(file: Path, videos: Sequence[AnyPath], annotations: Path | None, compare: Sequence[Path]) -> Given:
    """Return what a file names: detections, or else annotations, which are shown alone.

    Raises:
        PipelineError: it holds neither.
    """
    try:
        read_detections(file)
    except PipelineError as error:
        if annotations is not None or compare:
            raise
        try:
            read_annotations(file, subsets=())
        except PipelineError:
            raise error from None
        return Given([], videos, file)
    return Given([file, *compare], videos, annotations)


def read_given(given: Given) -> ReportFacts:
    """Return the facts of a report on detections.

    Raises:
        PipelineError: a file cannot be read, the videos are not found, or no detection is of one of them.
    """
    read = given.read()
    ids = {video_id for found in read.values() for video_id in found}
    sources = _sources(given.videos, ids, given.frame_rate)
    detections = {way: _adopted(found, sources) for way, found in read.items()}
    notes = []
    shown = {video_id for found in detections.values() for video_id in found}
    annotations, evaluations = None, {}
    if given.annotations is not None:
        annotations = adopt_ids(read_annotations(given.annotations, subsets=()), [*sources, *shown])
    if sources and (gone := sorted((shown or set(annotations.videos if annotations else ())) - sources.keys())):
        if len(gone) == len(shown):
            raise PipelineError(
                f"none of the {counted(len(gone), 'video')} in {given.main} ({gone[0]}, …) is among --videos "
                f"({next(iter(sources))}, …); a video's id is its file's name without suffix"
            )
        notes.append(f"{counted(len(gone), 'video', 'is', 'are')} not among the given files ({gone[0]}).")
    if not sources:
        notes.append("No videos were given: there are times, and nothing to play.")
    if annotations is not None and read:
        evaluations = _evaluations(given, list(read), annotations, notes)
    elif annotations is None:
        notes.append("There are no annotations: nothing says which detections are right.")
    return ReportFacts(
        title=given.main.stem,
        videos=_videos(given, sources, detections, annotations),
        annotations=annotations,
        annotations_file=given.annotations,
        detections=detections,
        evaluations=evaluations,
        notes=tuple(notes),
        shown_score=given.shown_score,
        kinds=read_found_kinds(given.main.parent) if not read else None,
    )


def _names(files: Sequence[Path]) -> list[str]:
    """Return a name for each file: its own without suffix, with its folder's where two would be the same."""
    stems = [file.stem for file in files]
    names = [
        file.stem if stems.count(file.stem) == 1 else f"{file.resolve().parent.name}/{file.stem}" for file in files
    ]
    return [name if names.count(name) == 1 else str(file) for name, file in zip(names, files, strict=True)]


def _sources(inputs: Sequence[AnyPath], ids: Collection[str], frame_rate: float | None) -> dict[str, VideoFact]:
    """Return the videos that the inputs name, by id."""
    if not inputs:
        return {}
    stores = [path for path in inputs if (path / "store.json").is_file()]
    if stores:
        store = FeatureStore.open(stores[0])
        sidecars = {video_id: store.require_sidecar(video_id) for video_id in store.ids()}
        return {
            video_id: VideoFact(
                id=video_id,
                path=local_path(sidecar.get("source", {}).get("path")),
                seconds=float(sidecar["duration_seconds"]),
                rows=sidecar["shape"][0],
                frame_rate=frame_rate_of(sidecar),
            )
            for video_id, sidecar in sidecars.items()
        }
    by_path = any("/" in video_id for video_id in ids)  # as `localize --ids path` names them
    videos = find_videos(inputs, ids="path" if by_path else "stem", frame_rate=frame_rate)
    return {
        video.id: VideoFact(id=video.id, path=local_path(video.path), seconds=None, frame_rate=video.frame_rate)
        for video in videos
    }


def _adopted(found: Mapping[str, list[Detection]], sources: Mapping[str, VideoFact]) -> dict[str, list[Detection]]:
    """Return the detections under the ids of the videos."""
    known = names_by_form(sources)
    return {find_name(video_id, known) or video_id: items for video_id, items in found.items()}


def _videos(
    given: Given,
    sources: Mapping[str, VideoFact],
    detections: Mapping[str, Mapping[str, list[Detection]]],
    annotations: Annotations | None,
) -> list[VideoFact]:
    """Return the videos by id: those of `sources` and of the detections; those of the training last."""
    known = annotations.videos if annotations else {}
    found_ids = {video_id for found in detections.values() for video_id in found}
    ids = sorted({*sources, *given.failed, *(found_ids if detections else known)})
    facts = []
    for video_id in ids:
        source = sources.get(video_id, VideoFact(id=video_id, path=None, seconds=None))
        # Without detections there is no head that could have seen it.
        is_training = found_ids and video_id in known and canonical_subset(known[video_id].subset) == "training"
        seconds = source.seconds or (known[video_id].duration if video_id in known else None)
        facts.append(
            VideoFact(
                id=video_id,
                path=source.path,
                frame_rate=source.frame_rate,
                seconds=seconds,
                rows=source.rows,
                failure=given.failed.get(video_id, ""),
                seen_in_training=bool(is_training) or video_id in given.training_ids,
            )
        )
    return sorted(facts, key=lambda fact: fact.seen_in_training)


def _evaluations(
    given: Given, ways: Sequence[str], annotations: Annotations, notes: list[str]
) -> dict[str, Evaluation]:
    """Return the evaluation of each file, all on one subset; none if no subset fits, and then a note says why."""
    assert given.annotations is not None
    present = {canonical_subset(name) for name in annotations.subsets()}
    reason = ""
    for subset in (*(name for name in _SUBSETS if name in present), "all"):
        config = EvaluateConfig(subset=subset, diagnose=True)
        try:
            found = [evaluate(file, given.annotations, config) for file in given.detections]
        except PipelineError as error:
            reason = reason or str(error)
            continue
        if subset == "all" and "training" in present:
            notes.append(
                "All annotated videos are evaluated, also those of the training: expect lower numbers on others."
            )
        return dict(zip(ways, found, strict=True))
    notes.append(f"There is no evaluation: {reason}")
    return {}
