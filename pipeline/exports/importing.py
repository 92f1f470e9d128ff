"""Stage: published features → feature store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np

from pipeline.annotations import Annotations, VideoAnnotations, adopt_ids
from pipeline.errors import PipelineError
from pipeline.exports import gtad
from pipeline.exports.arrayfiles import BadArray, as_rows, find_arrays
from pipeline.exports.clock import Clock
from pipeline.exports.config import ImportConfig
from pipeline.exports.exporting import RECORD
from pipeline.snippets import SnippetPlan, exact
from pipeline.storage.atomic_files import identifier_of, read_json
from pipeline.store.feature_store import FeatureStore
from pipeline.store.spec import StoreSpec, rows_as_json

_ROWS_AT_ONCE = 4096


@dataclass
class ImportReport:
    """What became of each file.

    Args:
        done: ids of the videos that were imported.
        failed: id → reason.
        notes: what must be known about the result.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def import_features(
    source: Path, out: Path, config: ImportConfig, *, annotations: Annotations | None = None
) -> tuple[FeatureStore, ImportReport]:
    """Makes the feature store ``out`` of the feature files in ``source``.

    Args:
        source: a folder (searched below) of npy, npz or HDF5 files, or one of them. A file is a video; in HDF5, a key.
        annotations: say the durations of the videos, and with ``fps="video"`` their rates. Without durations a video is
            taken to end with its last row.

    Returns:
        The store, and what became of each file; a bad file costs only itself.

    Raises:
        PipelineError: there are no such files, or ``out`` holds something else.
    """
    report, odd = ImportReport(), _OddLengths()
    store: FeatureStore | None = None
    known: dict[str, VideoAnnotations] = {}
    files = find_arrays(source, config)
    if annotations is not None:
        known = adopt_ids(annotations, [_id(name, config) for name, _, _ in files]).videos
    elif config.fps == "video":
        raise PipelineError("fps='video' needs the annotations that say each video's rate: give --annotations")
    seen: set[str] = set()
    for name, file, read in files:
        video_id = _id(name, config)
        if video_id in seen:
            raise PipelineError(f"{source} has two feature files of video {video_id!r}: rename or remove one")
        seen.add(video_id)
        try:
            features = as_rows(read(), config)
        except BadArray as error:
            report.failed[video_id] = f"{file.name} {error}"
            continue
        if store is None:
            store = FeatureStore.create(out, _spec(features, config))
        if features.dtype.itemsize > 2 and store.spec.dtype == "float16":
            report.failed[video_id] = f"{file.name} is {features.dtype}, the store float16: import it apart"
            continue
        _add(store, video_id, features, file, known.get(video_id), report, odd)
    if store is None:
        first = next(iter(report.failed.values()))
        raise PipelineError(f"no file in {source} holds features; the first: {first}")
    unknown = sum(video_id not in known or not known[video_id].duration for video_id in report.done)
    if unknown:
        remedy = (
            "give annotations with durations" if annotations is None else "the annotations have no durations of them"
        )
        report.notes.append(f"{unknown} videos are taken to end with their last row: {remedy}")
    if odd.found:
        report.notes.append(odd.text(of=len(report.done)))
    return store, report


def import_export(source: Path, out: Path) -> tuple[FeatureStore, ImportReport]:
    """Makes the store ``out`` of a folder that :func:`export` wrote: the same rows, sidecars and hashes, bit for bit.

    Exports for opentad, actionformer and gtad hold the rows (gtad's not those of videos without segments, which its
    files cannot name; they are told). Not the way back: resized rows, and fiftyone's export, which has none.

    Raises:
        PipelineError: ``source`` is no such export, or its arrays are not those that were exported.
    """
    if not (source / RECORD).is_file():
        raise PipelineError(
            f"{source} is not a folder that `export` wrote: it has no {RECORD}; published features need --fps, "
            "--stride-frames and --window-frames"
        )
    record = read_json(source / RECORD, what="export")
    if not isinstance(record, dict) or record.get("to") not in ("opentad", "actionformer", "gtad"):
        raise PipelineError(f"{source} is no export for opentad, actionformer or gtad: only these hold the features")
    if record.get("resize_snippets"):
        raise PipelineError(
            f"{source} was exported with resize_snippets {record['resize_snippets']}, and the rows of the store cannot "
            "be had back from resized ones; import an export without it"
        )
    spec = StoreSpec.from_json(record["spec"], where=source / RECORD)
    arrays = _exported_arrays(source, record, spec)
    store = FeatureStore.create(out, spec)
    report = ImportReport()
    shared = {"schema", "id", "shape", "sha256", *store.spec.as_json()}
    for name, sidecar in record["sidecars"].items():
        video_id = identifier_of(name)
        if (features := arrays(name)) is None:
            report.notes.append(f"{video_id} is not in the export: gtad's files cannot name videos without segments")
            continue
        _write(store, video_id, features, {key: value for key, value in sidecar.items() if key not in shared})
        written = store.sidecar(video_id) or {}
        if written.get("sha256") != sidecar["sha256"]:
            raise PipelineError(f"{source}: the features of {video_id!r} are not those that were exported")
        report.done.append(video_id)
    return store, report


def _exported_arrays(source: Path, record: dict[str, Any], spec: StoreSpec) -> Callable[[str], np.ndarray | None]:
    """A function that gives the rows of a video by its name in the record, or None where the export has none."""
    if record["to"] == "gtad":
        names, clock = gtad.read_names(source), Clock.of_frames(spec.plan)

        def from_gtad(name: str) -> np.ndarray | None:
            rows = gtad.read_rows(source, names[identifier_of(name)], clock)
            return None if rows is None else rows.astype(spec.dtype)

        return from_gtad
    folder = source / "features"
    return lambda name: np.load(folder / f"{record['prefix']}{name}.npy", mmap_mode="r", allow_pickle=False)


def _id(name: str, config: ImportConfig) -> str:
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.removeprefix(config.prefix)


def _spec(features: np.ndarray, config: ImportConfig) -> StoreSpec:
    plan = SnippetPlan(
        fps=None if config.fps == "video" else exact(config.fps),
        window_frames=exact(config.window_frames),
        stride_frames=exact(config.stride_frames),
        num_frames=max(1, int(config.window_frames)),
        tail=config.tail,
    )
    dtype: Literal["float16", "float32"] = "float16" if features.dtype == np.float16 else "float32"
    return StoreSpec(
        channels=features.shape[1],
        dtype=dtype,
        plan=plan,
        encoder={"name": config.encoder, "imported": True},
        weights={"name": "unknown", "sha256": None, "random": False},
        precision="unknown",
        decoder="unknown",
    )


def _add(
    store: FeatureStore,
    video_id: str,
    features: np.ndarray,
    file: Path,
    annotated: VideoAnnotations | None,
    report: ImportReport,
    odd: _OddLengths,
) -> None:
    duration, fps = (annotated.duration, annotated.fps) if annotated else (None, None)
    if store.spec.plan.fps is None and not fps:
        report.failed[video_id] = "the annotations do not say its rate (fps, or frame and duration)"
        return
    plan = store.spec.plan.at(exact(fps or 1).limit_denominator(1_000_000))
    last_row_ends = (len(features) - 1) * plan.stride_seconds + plan.window_seconds
    exact_duration: Fraction = exact(duration) if duration else last_row_ends
    details: dict[str, Any] = {
        "rows": rows_as_json(plan),
        "duration_seconds": float(exact_duration),
        "duration_exact": str(exact_duration),
        "duration_from": "annotations" if duration else "rows",
        "video_fps": fps,
        "source": {"features": str(file.resolve())},
    }
    try:
        _write(store, video_id, features, details)
    except PipelineError as error:
        store.write_failure(video_id, kind="bad_features", reason=str(error), source=details["source"])
        report.failed[video_id] = str(error)
        return
    report.done.append(video_id)
    if abs(plan.count(exact_duration) - len(features)) > 1:
        odd.found[video_id] = len(features), exact_duration, plan


@dataclass
class _OddLengths:
    """Rows, duration and plan of the videos whose number of rows is not what the duration gives."""

    found: dict[str, tuple[int, Fraction, SnippetPlan]] = field(default_factory=dict)

    def text(self, *, of: int) -> str:
        """One line, with the stride that would fit, so that a wrong one is seen for what it is."""
        shown = [
            f"{video}: {rows} rows where its {float(duration):g} s give {plan.count(duration)}"
            for video, (rows, duration, plan) in list(self.found.items())[:3]
        ]
        strides = [
            (duration - plan.window_seconds) / (rows - 1) * plan.rate
            for rows, duration, plan in self.found.values()
            if rows > 1
        ]
        remedy = f" (a stride of about {float(median(strides)):.4g} frames would fit)" if strides else ""
        rows_alike = len({rows for rows, _, _ in self.found.values()}) == 1
        if rows_alike and len({duration for _, duration, _ in self.found.values()}) > 1:
            remedy = (
                "; all these have the same number of rows, as if they were resized to span each video: a store has one "
                "stride for all, so import features from before they were resized"
            )
        return (
            f"{len(self.found)} of {of} videos have another number of rows than their duration gives "
            f"({'; '.join(shown)}): look at fps, stride, window and tail{remedy}"
        )


def _write(store: FeatureStore, video_id: str, features: np.ndarray, details: Mapping[str, Any]) -> None:
    with store.writer(video_id) as writer:
        for start in range(0, len(features), _ROWS_AT_ONCE):
            writer.append(features[start : start + _ROWS_AT_ONCE])
        writer.commit(dict(details))
