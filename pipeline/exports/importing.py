"""Stage: published feature files → feature store."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np

from pipeline.annotations import Annotations, VideoAnnotations, adopt_ids
from pipeline.errors import PipelineError
from pipeline.exports.claims import BadArray
from pipeline.exports.config import ImportConfig
from pipeline.exports.published import Published, find_published
from pipeline.snippets import SnippetPlan, exact
from pipeline.storage.file_names import file_name_of
from pipeline.store.feature_store import FeatureStore
from pipeline.store.records import VideoDetails
from pipeline.store.spec import StoreSpec, rows_as_json
from pipeline.text.plain import counted

_ROWS_AT_ONCE = 4096
_CHANNELS_UNIT = 64  # encoders have this number of channels, or a multiple


@dataclass
class ImportReport:
    """The result of an import.

    Args:
        done: ids of the imported videos.
        failed: id → reason.
        notes: what the user must know about the result.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def import_features(
    source: Path,
    out: Path,
    config: ImportConfig,
    *,
    annotations: Annotations | None = None,
    only: Collection[str] | None = None,
) -> tuple[FeatureStore, ImportReport]:
    """Import the feature files in `source` into the feature store `out`.

    Args:
        source: a folder of npy, npz, HDF5, csv, pt or mat files (searched recursively), or one file. A video is a file,
            or a key in an HDF5 file.
        annotations: give the durations of the videos, and with `fps="video"` their rates. A video of unknown duration
            is assumed to end with its last row.
        only: ids of the videos to import; None: all.

    Returns:
        The store, and the result of each file; a bad file does not stop the others.

    Raises:
        PipelineError: there are no such files, or `out` holds something else.
    """
    report, lengths = ImportReport(), _Lengths()
    store: FeatureStore | None = None
    items = {i: item for i, item in find_published(source, config).items() if only is None or i in only}
    known: dict[str, VideoAnnotations] = {}
    if annotations is not None:
        known = adopt_ids(annotations, list(items)).videos
    elif isinstance(config.fps, str):
        what = "rate" if config.fps == "video" else "duration"
        raise PipelineError(f"fps={config.fps!r} needs annotations with the {what} of each video: give --annotations")
    for found in _readable(items, config, report):
        video_id, rows, annotated = found.id, found.rows, known.get(found.id)
        if store is None:
            store, first = FeatureStore.create(out, _spec(found, config)), rows.shape
        if rows.dtype.itemsize > 2 and store.spec.dtype == "float16":
            report.failed[video_id] = (
                f"{found.source.where} is {rows.dtype}, but the store is float16: import it into another store"
            )
        elif rows.shape[1] != store.spec.channels:
            report.failed[video_id] = f"{found.source.where} {_other_width(rows.shape, first, config)}"
        else:
            try:
                rate = _rate(len(rows), annotated, config)
            except BadArray as error:
                report.failed[video_id] = str(error)
                continue
            _add(store, found, annotated, rate, report, lengths)
    if store is None:
        reason = next(iter(report.failed.values()), "none of the wanted videos is there")
        raise PipelineError(f"no file in {source} holds features; the first: {reason}")
    unknown = sum(video_id not in known or not known[video_id].duration for video_id in report.done)
    if unknown:
        remedy = "give annotations with durations" if annotations is None else "the annotations lack their durations"
        whose = "its" if unknown == 1 else "their"
        report.notes.append(f"{counted(unknown, 'video', 'is', 'are')} assumed to end with {whose} last row: {remedy}")
    report.notes += lengths.notes(store.spec.channels, config)
    return store, report


@dataclass(frozen=True)
class _Sequence:
    """The rows [T, C] of a video, where they are from, and the width of each stream."""

    id: str
    source: Published
    rows: np.ndarray
    widths: tuple[int, ...]


def _readable(items: Mapping[str, Published], config: ImportConfig, report: ImportReport) -> Iterator[_Sequence]:
    """Yield the readable sequences; report the others."""
    for video_id, item in items.items():
        try:
            file_name_of(video_id)
            rows, widths = item.read(config)
        except (BadArray, PipelineError) as error:
            report.failed[video_id] = f"{item.where} {error}"
            continue
        yield _Sequence(video_id, item, rows, widths)


def _other_width(shape: tuple[int, ...], first: tuple[int, ...], config: ImportConfig) -> str:
    text = f"has [T, C] = {list(shape)}, but the rows of the store have {first[1]} channels"
    if shape[0] == first[1]:
        return f"{text}; it seems to have its axes changed, unlike the others: turn it, or import such files alone"
    if shape[0] != first[0]:
        return text
    # The arrays agree in the assumed time axis and differ in the assumed channel axis.
    how = "leave out --channels-first" if config.channels_first else "give --channels-first"
    return f"{text}; if time is the other axis of all these arrays, {how} and another --out"


def _rate(rows: int, annotated: VideoAnnotations | None, config: ImportConfig) -> Fraction | None:
    """Return the rate of a video's frames, or of its rows if they span it; None if all videos have the same.

    Raises:
        BadArray: the annotations do not give it.
    """
    if not isinstance(config.fps, str):
        return None
    if config.fps == "resized":
        if annotated is None or not annotated.duration:
            raise BadArray("the annotations do not give its duration")
        return rows / exact(annotated.duration)
    if annotated is None or not annotated.fps:
        raise BadArray("the annotations do not give its rate (fps, or frame and duration)")
    return exact(annotated.fps).limit_denominator(1_000_000)


def _spec(found: _Sequence, config: ImportConfig) -> StoreSpec:
    plan = SnippetPlan(
        fps=None if isinstance(config.fps, str) else exact(config.fps),
        window_frames=exact(config.window_frames),
        stride_frames=exact(config.stride_frames),
        num_frames=max(1, int(config.window_frames)),
        tail=config.tail,
    )
    dtype: Literal["float16", "float32"] = "float16" if found.rows.dtype == np.float16 else "float32"
    encoder: dict[str, Any] = {"name": config.encoder, "imported": True}
    if len(found.widths) > 1:
        ends = list(accumulate(found.widths))
        columns = zip(("rgb", "flow"), [0, *ends], ends, strict=False)
        encoder["streams"] = [{"name": name, "channels": [begin, end]} for name, begin, end in columns]
    return StoreSpec(
        channels=found.rows.shape[1],
        dtype=dtype,
        plan=plan,
        encoder=encoder,
        weights={"name": "unknown", "sha256": None, "random": False},
        precision="unknown",
        decoder="unknown",
    )


def _add(
    store: FeatureStore,
    found: _Sequence,
    annotated: VideoAnnotations | None,
    rate: Fraction | None,
    report: ImportReport,
    lengths: _Lengths,
) -> None:
    duration = annotated.duration if annotated else None
    plan = store.spec.plan.at(rate or Fraction(1))
    last_row_ends = (len(found.rows) - 1) * plan.stride_seconds + plan.window_seconds
    exact_duration: Fraction = exact(duration) if duration else last_row_ends
    details: VideoDetails = {
        "rows": rows_as_json(plan),
        "duration_seconds": float(exact_duration),
        "duration_exact": str(exact_duration),
        "duration_from": "annotations" if duration else "rows",
        "video_fps": annotated.fps if annotated else None,
        "source": {"features": str(found.source.file.resolve())},
    }
    try:
        write_rows(store, found.id, found.rows, details)
    except (BadArray, MemoryError) as error:
        reason = f"{found.source.where} {error or 'does not fit into the memory'}"
        store.write_failure(found.id, kind="bad_features", reason=reason, source=details["source"])
        report.failed[found.id] = reason
        return
    report.done.append(found.id)
    lengths.all.append(len(found.rows))
    if abs(plan.count(exact_duration) - len(found.rows)) > 1:
        lengths.odd[found.id] = len(found.rows), exact_duration, plan


@dataclass
class _Lengths:
    """The numbers of rows.

    Args:
        all: of each video.
        odd: rows, duration and plan of the videos whose number of rows does not fit their duration.
    """

    all: list[int] = field(default_factory=list)
    odd: dict[str, tuple[int, Fraction, SnippetPlan]] = field(default_factory=dict)

    def notes(self, channels: int, config: ImportConfig) -> list[str]:
        """Return notes for the user on odd numbers of rows, and on axes that seem swapped."""
        notes = [self._text()] if self.odd else []
        as_channels = len(set(self.all)) == 1 and self.all[0] > channels and self.all[0] % _CHANNELS_UNIT == 0
        as_rows = bool(self.odd) and all(
            abs(plan.count(duration) - channels) <= 1 for _, duration, plan in self.odd.values()
        )
        if (as_channels or as_rows) and not config.channels_first:
            notes.append(
                f"all arrays are read as [T, C] = [{self.all[0]}, {channels}]; if they are [C, T], "
                "give --channels-first and another --out"
            )
        return notes

    def _text(self) -> str:
        """Return one line on the odd videos, with the stride that would fit, to reveal a wrong one."""
        shown = [
            f"{video}: {rows} rows where its {float(duration):g} s give {plan.count(duration)}"
            for video, (rows, duration, plan) in list(self.odd.items())[:3]
        ]
        strides = [
            (duration - plan.window_seconds) / (rows - 1) * plan.rate
            for rows, duration, plan in self.odd.values()
            if rows > 1
        ]
        remedy = f" (a stride of about {float(median(strides)):.4g} frames would fit)" if strides else ""
        rows_alike = len({rows for rows, _, _ in self.odd.values()}) == 1
        if rows_alike and len({duration for _, duration, _ in self.odd.values()}) > 1:
            remedy = (
                "; all these have the same number of rows, as if they were resized to span each video: a store has one "
                "stride for all videos, so give --fps resized --stride-frames 1 --window-frames 1"
            )
        return (
            f"{len(self.odd)} of {len(self.all)} videos {'has' if len(self.odd) == 1 else 'have'} another number of "
            f"rows than their duration gives ({'; '.join(shown)}): check fps, stride, window and tail{remedy}"
        )


def write_rows(store: FeatureStore, video_id: str, features: np.ndarray, details: VideoDetails) -> None:
    """Write the rows [T, C] of a video and commit them.

    Raises:
        BadArray: a value is not finite in the dtype of the store.
    """
    with store.writer(video_id) as writer:
        for start in range(0, len(features), _ROWS_AT_ONCE):
            rows = features[start : start + _ROWS_AT_ONCE]
            try:
                writer.append(rows)
            except PipelineError as error:
                raise BadArray(_not_finite(rows, store.spec.dtype, first=start) or str(error)) from None
        writer.commit(details)


def _not_finite(rows: np.ndarray, dtype: str, *, first: int) -> str | None:
    """Return a message on the first value that is not finite in `dtype`, or None.

    Args:
        first: index of the first row.
    """
    with np.errstate(over="ignore"):
        places = np.argwhere(~np.isfinite(rows.astype(dtype)))
    if not len(places):
        return None
    row, column = places[0]
    return f"is not finite in {dtype}: row {first + row}, column {column} is {rows[row, column]}"
