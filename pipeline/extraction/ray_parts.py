"""Ranges of a long video: each is a file until all are there and become one sequence of the store.

    STORE/parts/<id>/<first>-<end>.npy     float32 [n, C]: the rows of the range, and the first row of the next one
    STORE/parts/<id>/<first>-<end>.json    written last: identity of the range and its file, and the rows' SHA-256

After an interruption finished ranges are used again. They are removed when the video is in the store or has failed.
Stores in object storage have no ranges: their videos are not cut.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cluster.worker import RowsAdded
from pipeline.errors import PipelineError
from pipeline.extraction.encode import Event, Rows
from pipeline.extraction.store_writer import Outcome, details, record_failure
from pipeline.storage.atomic_files import whole_file, write_json
from pipeline.storage.file_names import file_name_of
from pipeline.storage.location import local
from pipeline.storage.read_files import read_json
from pipeline.storage.stamps import Stamp, stamp_of
from pipeline.store.feature_store import FeatureStore
from pipeline.video.events import Failed, Finished, Restarted
from pipeline.video.messages import pack_report, unpack_report
from pipeline.video.ranges import VideoRange
from pipeline.video.report import DecodeReport
from pipeline.video.videos import VideoFile


class UnfitError(Exception):
    """The ranges would not give the rows of one pass from front to back; encode the video as a whole."""


@dataclass(frozen=True)
class PartWritten:
    """A range is complete and on disk."""


@dataclass(frozen=True)
class PartFailed:
    """A range cannot be decoded by itself, or the ranges do not fit together; encode the video as a whole."""

    reason: str


class PartWriter:
    """Collects the rows of ranges and writes each complete range."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._rows: dict[str, list[np.ndarray]] = {}
        self._stamps: dict[str, Stamp | None] = {}

    def begin(self, part: VideoRange) -> None:
        """Note size and time of the video file before its range is decoded."""
        self._stamps[part.id] = stamp_of(part.path)

    def take(self, event: Event) -> RowsAdded | PartWritten | PartFailed:
        """Take the next event of a range; return the rows added, or how the range ended."""
        part = event.video
        assert isinstance(part, VideoRange)
        if isinstance(event, Rows):
            self._rows.setdefault(part.id, []).append(event.features)
            return RowsAdded(len(event.features))
        rows = self._rows.pop(part.id, [])
        if isinstance(event, Restarted):  # its decoder died
            return RowsAdded(-sum(map(len, rows)))
        stamp = self._stamps.pop(part.id)
        if isinstance(event, Finished):
            _write(self._store, part, np.concatenate(rows), event.report, stamp)
            return PartWritten()
        assert isinstance(event, Failed)
        return PartFailed(f"{event.kind}: {event.reason}")


def is_written(store: FeatureStore, part: VideoRange) -> bool:
    """Return whether an earlier run has written the range, from the file as it is now."""
    try:
        value = _read_facts(store, part)
        return value["of"] == _identity(part, stamp_of(part.path)) and _path(store, part, ".npy").is_file()
    except (PipelineError, KeyError, TypeError):
        return False


def join(store: FeatureStore, video: VideoFile, parts: Sequence[VideoRange]) -> Outcome:
    """Join the ranges of a video into its sequence in the store.

    Raises:
        UnfitError: a range is missing or damaged, or two ranges disagree about the row where they meet.
    """
    stamp = stamp_of(video.path)
    reports: list[DecodeReport] = []
    seam = b""
    with store.writer(video.id) as writer:
        for part in parts:
            rows, report = _read(store, part, stamp)
            if seam and rows[0].tobytes() != seam:
                raise UnfitError(f"row {part.first_row} differs when decoding starts near it")
            reports.append(report)
            own = part.end_row - part.first_row
            seam = rows[own:].tobytes()
            try:
                writer.append(rows[:own])
            except PipelineError as error:
                return record_failure(store, video, "not_finite", str(error))
        report = _joined(reports, num_rows=parts[0].num_rows)
        writer.commit(details(video, report, parts[0].info.fps, store.spec))
    return Outcome(video, writer.rows, notes=report.notes)


def remove_settled_parts(store: FeatureStore) -> None:
    """Remove the ranges of videos that are in the store or have failed."""
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
            raise UnfitError(f"{part.id}: the video file has changed")
        if facts["sha256"] != _sha256(rows):
            raise UnfitError(f"{part.id}: the rows do not match their SHA-256")
        return rows, unpack_report(facts["report"])
    except (PipelineError, OSError, KeyError, TypeError, ValueError) as error:
        raise UnfitError(f"{part.id}: {error}") from None


def _joined(reports: Sequence[DecodeReport], *, num_rows: int) -> DecodeReport:
    """Return the report of the whole video: the sum of the frames, and the end from the last range."""
    first, last = reports[0], reports[-1]
    if len({(r.backend, r.backend_version, r.backend_reason, r.notes) for r in reports}) > 1:
        raise UnfitError("the ranges were decoded in different ways")
    return replace(
        first,
        decoded_frames=sum(report.decoded_frames for report in reports),
        corrupt_frames=sum(report.corrupt_frames for report in reports),
        duration=last.duration,
        num_snippets=num_rows,
    )


def _identity(part: VideoRange, stamp: Stamp | None) -> dict[str, Any]:
    """Return the range and the state of its video file, as JSON values."""
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
