"""Stage: a folder that `export` wrote → the feature store that it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from pipeline.errors import PipelineError
from pipeline.exports import gtad
from pipeline.exports.arrayfiles import read_npy
from pipeline.exports.arrays import FEATURES
from pipeline.exports.claims import BadArray, refusing
from pipeline.exports.clock import Clock
from pipeline.exports.config import check_prefix
from pipeline.exports.exporting import RECORD
from pipeline.exports.importing import ImportReport, write_rows
from pipeline.snippets import exact
from pipeline.storage.file_names import file_name_of
from pipeline.storage.read_files import read_json
from pipeline.store.feature_store import FeatureStore
from pipeline.store.records import VideoDetails
from pipeline.store.spec import StoreSpec, plan_from_json

_LONGEST_SECONDS = 1e9  # thirty years
_ROWS = ("opentad", "actionformer", "gtad")  # exports that hold the rows


def import_export(source: Path, out: Path) -> tuple[FeatureStore, ImportReport]:
    """Restore the store `out` from a folder that `export` wrote: the same rows, sidecars and hashes, bit for bit.

    Exports for opentad, actionformer and gtad hold the rows (gtad's files cannot name videos without segments; the
    report notes them). Resized rows, and exports for fiftyone, which have no rows, cannot be restored.

    Returns:
        The store, and the result of each video; a video fails if its rows differ from the exported ones.

    Raises:
        PipelineError: `source` is not such an export, or none of its videos can be restored.
    """
    record = _read_record(source)
    spec = _read_spec(record, source / RECORD)
    arrays = _exported_arrays(source, record, spec)
    store: FeatureStore | None = None
    report = ImportReport()
    shared = {"schema", "id", "shape", "sha256", *spec.as_json()}
    for name, sidecar in record["sidecars"].items():
        try:
            video_id = _check_entry(name, sidecar, spec)
            features = arrays(video_id, name)
            if features is None:
                report.notes.append(
                    f"{video_id} is not in the export: gtad's files cannot name videos without segments"
                )
                continue
            _check_hash(features, sidecar, spec)
            store = store or FeatureStore.create(out, spec)
            details = {key: value for key, value in sidecar.items() if key == "rows" or key not in shared}
            write_rows(store, video_id, features, cast(VideoDetails, details))
        except BadArray as error:
            report.failed[name] = str(error)
            continue
        report.done.append(video_id)
    if store is None:
        reason = next(iter(report.failed.values()), "it names no video that it holds")
        raise PipelineError(f"nothing of {source} can be imported; the first: {reason}")
    return store, report


def _read_record(source: Path) -> dict[str, Any]:
    """Return the record of the export in `source`.

    Raises:
        PipelineError: there is none, the export has no rows, or the fields are not as `export` writes them.
    """
    if not (source / RECORD).is_file():
        raise PipelineError(
            f"{source} is not a folder that `export` wrote: it has no {RECORD}; published features need --fps, "
            "--stride-frames and --window-frames"
        )
    record = read_json(source / RECORD, what="export")
    if not isinstance(record, dict) or record.get("to") not in _ROWS:
        raise PipelineError(
            f"{source} is not an export for opentad, actionformer or gtad: only these hold the features"
        )
    if record.get("resize_snippets"):
        raise PipelineError(
            f"{source} was exported with resize_snippets {record['resize_snippets']}, and resized rows cannot be "
            "restored to those of the store; import an export without it"
        )
    for name, kind in (("prefix", str), ("spec", dict), ("sidecars", dict)):
        if not isinstance(record.get(name), kind):
            raise PipelineError(f"{source / RECORD}: {name} must be a {kind.__name__}, got {record.get(name)!r:.60}")
    check_prefix(record["prefix"])
    return record


def _read_spec(record: dict[str, Any], where: Path) -> StoreSpec:
    spec = StoreSpec.from_json(record["spec"], where=where)
    if spec.dtype not in ("float16", "float32") or not isinstance(spec.channels, int) or spec.channels < 1:
        raise PipelineError(f"{where}: rows must be float16 or float32 of >= 1 channels, got {spec.dtype!r:.60}")
    return spec


def _exported_arrays(source: Path, record: dict[str, Any], spec: StoreSpec) -> Callable[[str, str], np.ndarray | None]:
    """Return a function that reads the rows of a video by its id and its name in the record, or None if absent."""
    if record["to"] == "gtad":
        try:
            names, clock = gtad.read_names(source), Clock.of_frames(spec.plan)
        except BadArray as error:
            raise PipelineError(f"{source / gtad.NAMES} {error}") from None

        def from_gtad(video_id: str, _: str) -> np.ndarray | None:
            if video_id not in names:
                raise BadArray(f"is not named in {gtad.NAMES}")
            rows = gtad.read_rows(source, names[video_id], clock)
            return None if rows is None else rows.astype(spec.dtype)

        return from_gtad

    def from_npy(_: str, name: str) -> np.ndarray:
        file = source / FEATURES / f"{record['prefix']}{name}.npy"
        if not file.is_file():
            raise BadArray(f"has no file {file.name}")
        return read_npy(file, least_rows=0)

    return from_npy


def _check_entry(name: str, sidecar: Any, spec: StoreSpec) -> str:
    """Return the id of a video in the record.

    Raises:
        BadArray: the name is not the file name of the id, or the sidecar does not fit a store with this spec.
    """
    with refusing(f"an entry of {RECORD}"):
        video_id, duration, plan = sidecar["id"], sidecar["duration_seconds"], plan_from_json(sidecar["rows"])
        if not isinstance(video_id, str) or file_name_of(video_id) != name:
            raise BadArray(f"is called {name!r} in {RECORD}, which is not the name of its file")
        seconds = [duration, exact(sidecar.get("duration_exact", duration))]
        if isinstance(duration, (str, bool)) or not all(0 <= value <= _LONGEST_SECONDS for value in seconds):
            raise BadArray(f"has a duration of {duration!r:.60} s in {RECORD}")
        if replace(plan, fps=spec.plan.fps) != spec.plan or (plan.fps != spec.plan.fps and spec.plan.fps is not None):
            raise BadArray(f"has rows of another kind than the others in {RECORD}")
        if not isinstance(sidecar.get("source", {}), dict):
            raise BadArray(f"has a source in {RECORD} that is no object")
    return video_id


def _check_hash(features: np.ndarray, sidecar: dict[str, Any], spec: StoreSpec) -> None:
    """Check that these are the exported rows.

    Raises:
        BadArray: they are not.
    """
    rows = np.ascontiguousarray(features, dtype=np.dtype(spec.dtype).newbyteorder("<"))
    found = [list(rows.shape), hashlib.sha256(rows.data).hexdigest()]
    if features.shape[1] != spec.channels or found != [sidecar.get("shape"), sidecar.get("sha256")]:
        raise BadArray("its features differ from the exported ones")
