"""Check a feature store against itself, against its videos, and against annotations."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.annotations import Annotations, adopt_ids
from pipeline.errors import PipelineError
from pipeline.progress import Report, silent
from pipeline.snippets import exact
from pipeline.storage.file_names import identifier_of
from pipeline.storage.local import temporary_copy
from pipeline.storage.location import AnyPath, real_path
from pipeline.storage.npy import read_npy
from pipeline.storage.read_files import read_json
from pipeline.storage.stamps import has_changed
from pipeline.storage.temporary_names import PARTIAL_SUFFIX, is_abandoned
from pipeline.store.feature_store import FeatureStore
from pipeline.store.records import Sidecar
from pipeline.store.spec import plan_from_json, rows_as_json
from pipeline.video.find import find_videos

_BLOCK_ROWS = 4096
_FETCHED_AT_ONCE = 8


@dataclass(frozen=True)
class Problem:
    """A fault in a store.

    Args:
        id: the video's id, or a file's name for files that belong to no video.
        kind: one word or two: "torn", "hash", "missing", …
        detail: what was found and what was expected.
        files: the files that `--repair` removes, so that the stage makes them again; empty if removal does not help.
    """

    id: str
    kind: str
    detail: str
    files: tuple[AnyPath, ...] = ()


def verify_store(store: FeatureStore, *, deep: bool = False, report: Report = silent) -> list[Problem]:
    """Return the faults inside a store.

    Args:
        deep: also read every array and check its SHA-256, that its values are finite, and T against the duration.
            Otherwise compare only names, sizes, shapes and specs.
        report: gets the share that is done, 0 to 1.
    """
    problems = list(_loose_files(store))
    ids = store.ids()
    expected = read_json(store.path / "store.json", what="feature store")

    def check(video_id: str) -> list[Problem]:
        return list(_check_sequence(store, video_id, expected, deep=deep))

    pool = ThreadPoolExecutor(_FETCHED_AT_ONCE)
    try:  # several arrays of a remote store are fetched at once
        for number, found in enumerate(pool.map(check, ids) if store.is_remote and deep else map(check, ids)):
            problems.extend(found)
            report((number + 1) / len(ids), f"{number + 1}/{len(ids)} sequences")
    finally:
        pool.shutdown(cancel_futures=True)
    return problems


def verify_against_videos(store: FeatureStore, inputs: Sequence[AnyPath]) -> list[Problem]:
    """Return the faults of a store compared with its videos.

    These are videos that the store lacks, videos that failed, videos whose file has changed, and sequences without a
    video.
    """
    paths = {video.id: video.path for video in find_videos(inputs, ids="stem")}
    videos = paths.keys()
    done, failed = set(store.ids()), set(store.failed_ids())
    problems = [
        Problem(i, "missing", "a video without features; run `extract`") for i in sorted(videos - done - failed)
    ]
    for video_id in sorted((videos & failed) - done):
        failure = store.failure(video_id) or {}
        problems.append(Problem(video_id, "failed", f"{failure.get('kind')}: {failure.get('reason')}"))
    problems += [Problem(i, "superfluous", "features without a video") for i in sorted(done - videos)]
    for video_id in sorted(done & videos):
        source = (store.sidecar(video_id) or {}).get("source", {})
        if not isinstance(source, dict) or "bytes" not in source:  # imported features
            continue
        # `verify_store` compares the file at the recorded path, with or without --videos.
        elsewhere = real_path(paths[video_id]) != source.get("path")
        if (elsewhere or "etag" in source) and has_changed(paths[video_id], source):
            problems.append(_changed(store, video_id, paths[video_id]))
    return problems


def verify_against_annotations(store: FeatureStore, annotations: Annotations) -> list[Problem]:
    """Return annotated videos that the store lacks, and durations that differ by over one stride plus one second."""
    done = set(store.ids())
    known = adopt_ids(annotations, done).videos
    problems = [Problem(i, "missing", "annotated, but without features") for i in sorted(known.keys() - done)]
    problems += [Problem(i, "superfluous", "features without an annotation") for i in sorted(done - known.keys())]
    for video_id in sorted(done & known.keys()):
        stated, sidecar = known[video_id].duration, store.sidecar(video_id)
        if stated is None or sidecar is None:
            continue
        measured = sidecar["duration_seconds"]
        if abs(stated - measured) > (sidecar["rows"]["stride_seconds"] or 0.0) + 1.0:
            problems.append(Problem(video_id, "duration", f"{measured:.2f} s measured, {stated:.2f} s annotated"))
    return problems


def repair(problems: Sequence[Problem]) -> int:
    """Remove the faulty files, so that the stage makes them again; return how many were removed."""
    files = [file for problem in problems for file in problem.files if file.exists()]
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)


def _loose_files(store: FeatureStore) -> Iterator[Problem]:
    """Yield leftovers, and arrays without a sidecar."""
    for folder in (store.path / "features", store.path / "failures", store.path):
        for name in sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ():
            path = folder / name
            if path.name.endswith(PARTIAL_SUFFIX):
                if not isinstance(path, Path) or not is_abandoned(path):  # another process is writing it
                    continue
                yield Problem(path.name, "leftover", "of an interrupted write", (path,))
            elif path.suffix == ".npy" and folder.name == "features" and not path.with_suffix(".json").exists():
                detail = "an array without a sidecar: its video was interrupted"
                yield Problem(identifier_of(path.name[: -len(".npy")]), "torn", detail, (path,))


def _check_sequence(
    store: FeatureStore, video_id: str, expected: Mapping[str, Any], *, deep: bool
) -> Iterator[Problem]:
    files = (store.sidecar_path(video_id), store.array_path(video_id))
    if not files[1].exists():
        yield Problem(video_id, "torn", "a sidecar without its array", files)
        return
    sidecar = store.sidecar(video_id)
    if sidecar is None:
        if differing := store.foreign_fields(video_id):
            detail = f"here is the store, there the sidecar: {'; '.join(differing)}"
            yield Problem(video_id, "spec", detail, files)
        else:
            yield Problem(video_id, "torn", "the sidecar is unreadable, or the array has another size", files)
        return
    if sidecar.get("id") != video_id:
        yield Problem(video_id, "name", f"the sidecar is that of {sidecar.get('id')!r}", files)
    for difference in _spec_differences(store, sidecar, expected):
        yield Problem(video_id, "spec", difference, files)
    yield from _check_source(store, video_id, sidecar)
    if store.is_remote and not deep:  # its listed size was compared above; the header would cost a request
        return
    # Check the object itself, not an earlier copy in the cache.
    with temporary_copy(files[1]) as copy:
        for kind, detail in _check_array(store, copy, sidecar, deep=deep):
            yield Problem(video_id, kind, detail, files)


def _check_array(store: FeatureStore, array: Path, sidecar: Sidecar, *, deep: bool) -> Iterator[tuple[str, str]]:
    try:
        features = read_npy(array, what="features")
    except PipelineError as error:
        yield "torn", f"the array cannot be read: {error}"
        return
    if list(features.shape) != sidecar["shape"] or str(features.dtype) != store.spec.dtype:
        yield "shape", f"the array is {features.dtype} {list(features.shape)}, the sidecar says {sidecar['shape']}"
    elif deep:
        yield from _check_content(features, sidecar)


def _check_source(store: FeatureStore, video_id: str, sidecar: Sidecar) -> Iterator[Problem]:
    """Yield a fault if the video has changed since its rows were made; a video that is gone is no fault."""
    source = sidecar.get("source")
    if not isinstance(source, dict) or "modified_ns" not in source or not isinstance(source.get("path"), str):
        return
    path = Path(source["path"])
    if path.is_file() and has_changed(path, source):
        yield _changed(store, video_id, source["path"])


def _changed(store: FeatureStore, video_id: str, path: AnyPath | str) -> Problem:
    detail = f"{path} has changed since its features were made; run `extract` again"
    if store.spec.sola is not None:  # removal would not help: the same plain features would be enhanced again
        return Problem(video_id, "changed", f"{detail}, then `sola`")
    return Problem(video_id, "changed", detail, (store.sidecar_path(video_id), store.array_path(video_id)))


def _spec_differences(store: FeatureStore, sidecar: Sidecar, expected: Mapping[str, Any]) -> Iterator[str]:
    expected = dict(expected)
    if store.spec.plan.fps is None:  # the seconds of each video must follow from its own rate
        with contextlib.suppress(KeyError, TypeError, ValueError, PipelineError):
            expected["rows"] = rows_as_json(store.spec.plan.at(plan_from_json(sidecar["rows"]).rate))
    for name, value in expected.items():
        if sidecar.get(name) != value:
            yield f"{name} of the sidecar differs from the store's"


def _check_content(features: np.ndarray, sidecar: Sidecar) -> Iterator[tuple[str, str]]:
    digest, finite = hashlib.sha256(), True
    for start in range(0, len(features), _BLOCK_ROWS):
        block = np.ascontiguousarray(features[start : start + _BLOCK_ROWS])
        digest.update(block.tobytes())
        finite = finite and bool(np.isfinite(block).all())
    if digest.hexdigest() != sidecar.get("sha256"):
        yield "hash", f"the array's SHA-256 is {digest.hexdigest()[:12]}…, the sidecar says {sidecar.get('sha256')}"
    if not finite:
        yield "not finite", "the array holds NaN or infinite values"
    try:
        duration = exact(sidecar["duration_exact"])
        expected = plan_from_json(sidecar["rows"]).count(duration)
    except (KeyError, ValueError, TypeError, PipelineError) as error:
        yield "duration", f"the sidecar has no usable duration: {error!r}"
        return
    if expected != len(features):
        yield "length", f"{float(duration):.3f} s make {expected} rows, the array has {len(features)}"
