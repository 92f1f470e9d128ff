"""Ranges of a long video on their way into the store: each is a file of its own until all are there.

    STORE/parts/<id>/<first>-<end>.npy     float32 [n, C]: the rows of the range, and the first of the next one
    STORE/parts/<id>/<first>-<end>.json    written last: what the rows are of, and their SHA-256

Finished ranges are gone on with after an interruption. When the video is in the store, or has failed, they are removed.
Stores in object storage have none: their videos are not cut.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.encode import Event, Rows
from pipeline.extraction.store_writer import Outcome, details, record_failure
from pipeline.storage.atomic_files import whole_file, write_json
from pipeline.storage.file_names import file_name_of
from pipeline.storage.location import local
from pipeline.storage.read_files import read_json
from pipeline.storage.stamps import Stamp, stamp_of
from pipeline.store.feature_store import FeatureStore
from pipeline.video.messages import pack_report, unpack_report
from pipeline.video.pool import Failed, Finished, Restarted
from pipeline.video.ranges import VideoRange
from pipeline.video.report import DecodeReport
from pipeline.video.videos import VideoFile


class UnfitError(Exception):
    """Ranges do not make the video that one pass from front to back would give; it is to be done as a whole."""


class PartRecorder:
    """Collects the rows of ranges and writes each range when it is complete."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._rows: dict[str, list[np.ndarray]] = {}
        self._stamps: dict[str, Stamp | None] = {}

    def begin(self, part: VideoRange) -> None:
        """Notes what the file is like before its range is decoded."""
        self._stamps[part.id] = stamp_of(part.path)

    def take(self, event: Event) -> str | int:
        """Why the range of ``event`` cannot be had, or "" when it is written; until then the number of rows added."""
        part = event.video
        assert isinstance(part, VideoRange)
        if isinstance(event, Rows):
            self._rows.setdefault(part.id, []).append(event.features)
            return len(event.features)
        rows = self._rows.pop(part.id, [])
        if isinstance(event, Restarted):  # its decoder died
            return -sum(map(len, rows))
        stamp = self._stamps.pop(part.id)
        if isinstance(event, Finished):
            _write(self._store, part, np.concatenate(rows), event.report, stamp)
            return ""
        assert isinstance(event, Failed)
        return f"{event.kind}: {event.reason}"


def is_written(store: FeatureStore, part: VideoRange) -> bool:
    """Whether a range has been finished earlier, of the file as it is now."""
    try:
        value = _read_facts(store, part)
        return value["of"] == _identity(part, stamp_of(part.path)) and _path(store, part, ".npy").is_file()
    except (PipelineError, KeyError, TypeError):
        return False


def join(store: FeatureStore, video: VideoFile, parts: Sequence[VideoRange], config: ExtractConfig) -> Outcome:
    """Makes the sequence of a video of all its ranges.

    Raises:
        UnfitError: a range is lacking or damaged, or two do not meet in the same row.
    """
    stamp = stamp_of(video.path)
    reports: list[DecodeReport] = []
    seam = b""
    with store.writer(video.id) as writer:
        for part in parts:
            rows, report = _read(store, part, stamp)
            if seam and rows[0].tobytes() != seam:
                raise UnfitError(f"row {part.first_row} is another one when decoding begins near it")
            reports.append(report)
            own = part.end_row - part.first_row
            seam = rows[own:].tobytes()
            try:
                writer.append(rows[:own])
            except PipelineError as error:
                return record_failure(store, video, "not_finite", str(error))
        report = _joined(reports, num_rows=parts[0].num_rows)
        writer.commit(details(video, report, parts[0].info.fps, store.spec.plan, config))
    return Outcome(video, writer.rows)


def remove_settled_parts(store: FeatureStore) -> None:
    """Removes the ranges of videos that are in the store or have failed; they are not needed any more."""
    if store.is_remote:
        return
    folder = local(store.path) / "parts"
    for path in folder.iterdir() if folder.is_dir() else ():
        video_id = store.id_of(path.name)
        if store.sidecar(video_id) is not None or store.failure(video_id) is not None:
            shutil.rmtree(path, ignore_errors=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _write(store: FeatureStore, part: VideoRange, rows: np.ndarray, report: DecodeReport, stamp: Stamp | None) -> None:
    with whole_file(_path(store, part, ".npy")) as partial, partial.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
    facts = {"of": _identity(part, stamp), "sha256": _sha256(rows), "report": pack_report(report)}
    write_json(_path(store, part, ".json"), facts)


def _read(store: FeatureStore, part: VideoRange, stamp: Stamp | None) -> tuple[np.ndarray, DecodeReport]:
    try:
        facts = _read_facts(store, part)
        rows: np.ndarray = np.load(_path(store, part, ".npy"), allow_pickle=False)
        if facts["of"] != _identity(part, stamp):
            raise UnfitError(f"{part.id}: the file was changed meanwhile")
        if facts["sha256"] != _sha256(rows):
            raise UnfitError(f"{part.id}: the rows do not check")
        return rows, unpack_report(facts["report"])
    except (PipelineError, OSError, KeyError, TypeError, ValueError) as error:
        raise UnfitError(f"{part.id}: {error}") from None


def _joined(reports: Sequence[DecodeReport], *, num_rows: int) -> DecodeReport:
    """What a decoder would report of the whole: frames are added up, the last range knows the end."""
    first, last = reports[0], reports[-1]
    if len({(r.backend, r.backend_version, r.backend_reason, r.notes) for r in reports}) > 1:
        raise UnfitError("the ranges were not decoded alike")
    return replace(
        first,
        decoded_frames=sum(report.decoded_frames for report in reports),
        corrupt_frames=sum(report.corrupt_frames for report in reports),
        duration=last.duration,
        num_snippets=num_rows,
    )


def _identity(part: VideoRange, stamp: Stamp | None) -> dict[str, Any]:
    """What the rows of a range are of, as JSON values."""
    size, modified = stamp or (None, None)
    rows = [part.first_row, part.end_row, part.num_rows]
    return {"rows": rows, "bytes": size, "modified_ns": modified, "duration": str(Fraction(part.info.duration))}


def _read_facts(store: FeatureStore, part: VideoRange) -> dict[str, Any]:
    value: dict[str, Any] = read_json(_path(store, part, ".json"), what="range of a video")
    return value


def _path(store: FeatureStore, part: VideoRange, suffix: str) -> Path:
    folder = local(store.path) / "parts" / file_name_of(part.video.id)
    return folder / f"{part.first_row}-{part.end_row}{suffix}"


def _sha256(rows: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()
