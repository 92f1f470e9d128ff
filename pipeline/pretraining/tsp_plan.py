"""Videos and annotations → the rows of TAC and TSP in three parts, and the frames that their clips need."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.annotations import VideoAnnotations, canonical_subset
from pipeline.errors import PipelineError
from pipeline.pretraining.annotated_segments import annotated_videos
from pipeline.pretraining.data import cells_of
from pipeline.pretraining.global_feature import whole_windows
from pipeline.pretraining.task import Request
from pipeline.pretraining.tsp import TspData, TspTask
from pipeline.pretraining.tsp_rows import (
    ClipGrid,
    Parts,
    Row,
    even_starts,
    numbered,
    rows_in_words,
    rows_of_video,
    training_starts,
    videos_held_out,
)
from pipeline.pretraining.video_cells import VideoCells, bytes_of_frames, cache_cells
from pipeline.progress import Report
from pipeline.snippets import exact
from pipeline.storage.location import local
from pipeline.text.plain import counted, first_of
from pipeline.video.errors import VideoError
from pipeline.video.metadata import probe
from pipeline.video.videos import VideoFile


@dataclass(frozen=True)
class SourceVideo:
    """A video, its length in cells of the encoder's frame grid, and its height and width in pixels."""

    path: Path
    total: int
    display_size: tuple[int, int]


def plan_tsp(request: Request) -> TspPlan:
    """Return the rows of segments and gaps: TSP.

    Raises:
        PipelineError: no or bad annotations, too little to learn from, or a batch larger than an epoch.
    """
    return TspPlan(request, with_region=True)


def plan_tac(request: Request) -> TspPlan:
    """Return the rows of segments alone: TAC, the control of TSP; otherwise as `plan_tsp`."""
    return TspPlan(request, with_region=False)


class TspPlan:
    """The rows, before any frame is read."""

    def __init__(self, request: Request, *, with_region: bool) -> None:
        self._request, self._with_region = request, with_region
        self._failed: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._videos: dict[str, SourceVideo] = {}
        training, validation = self._read()
        _refuse_too_little(training, self._why_none(), with_region=with_region)
        config = request.config
        chosen = videos_held_out(training, share=config.validation_share, seed=config.seed)
        held_out, self._lacking = set(chosen.validation), chosen.one_sided
        self._parts = Parts(
            [row for row in training if row.video not in held_out],
            [row for row in training if row.video in held_out],
            validation,
        )
        clips = len(self._parts.training) * config.tsp.clips_per_row
        if config.batch_size > clips:
            raise PipelineError(
                f"batch_size must be at most the {counted(clips, 'clip')} of an epoch "
                f"({counted(len(self._parts.training), 'row')} of {config.tsp.clips_per_row} clips), "
                f"got {config.batch_size}"
            )
        self.facts = [[[str(self._videos[row.video].path), *_facts(row)] for row in part] for part in self._parts]
        self.files = [video.path for _, video in sorted(self._videos.items())]

    def _read(self) -> tuple[list[Row], list[Row]]:
        """Return the rows of the training subset, and those of the validation subset if there is one."""
        request, config = self._request, self._request.config
        if request.annotations is None:
            raise PipelineError(
                f"task {config.task} learns from annotated segments of untrimmed videos: give --annotations FILE"
            )
        annotations, files = annotated_videos(request.source, request.annotations, config)
        known = [(files[name], video) for name, video in sorted(annotations.videos.items()) if name in files]
        sides: list[list[Row]] = []
        for subset in (config.train_subset, config.validation_subset):
            rows: list[Row] = []
            for file, video in known:
                if canonical_subset(video.subset) == canonical_subset(subset):
                    rows += self._rows_of(file, video, is_training=not sides)
            sides.append(numbered(rows))
        if not sides[0] and not self._failed:
            annotations.in_subset(config.train_subset)  # raises, with the subsets that there are
            raise PipelineError(
                f"no video of subset {config.train_subset!r} of {request.annotations} with a row is in {request.source}"
            )
        return sides[0], sides[1]

    def _rows_of(self, file: VideoFile, video: VideoAnnotations, *, is_training: bool) -> list[Row]:
        spec, config = self._request.spec, self._request.config.tsp
        grid = ClipGrid(exact(spec.fps), spec.window_frames)
        path = local(file.path)
        try:
            info = probe(path)
            if grid.total(info.duration) < grid.window:
                clip = Fraction(grid.window) / grid.fps
                raise VideoError("too_short", f"it lasts {float(info.duration):.2f} s, a clip {float(clip):.2f} s")
        except VideoError as error:
            self._failed[str(path)] = str(error)
            return []
        named = replace(video, id=file.id)
        rows, counts = rows_of_video(named, info.duration, grid, config, with_gaps=self._with_region)
        if rows:
            self._videos[file.id] = SourceVideo(path, grid.total(info.duration), info.display_size)
        if is_training:
            self._counts += counts
        return rows

    def _why_none(self) -> str:
        words = rows_in_words(self._counts, self._request.config.tsp)
        return f"{words}; {next(iter(self._failed.values()))}" if self._failed else words

    def prepare(self, folder: Path, report: Report) -> TspTask:
        """Cache the frames of all clips of all epochs in `folder`, and return the task.

        Raises:
            PipelineError: the disk is too small, or no video of a part can be read.
        """
        spec = self._request.spec
        needed = self._needed_cells()
        sizes = {video: (len(cells), self._videos[video].display_size) for video, cells in needed.items()}
        _refuse_full_disk(folder, sum(bytes_of_frames(*size, spec) for size in sizes.values()))
        cached: dict[str, VideoCells] = {}
        for number, (video, cells) in enumerate(needed.items(), start=1):
            path = self._videos[video].path
            try:
                cached[video] = cache_cells(path, cells, spec, folder)
            except VideoError as error:
                self._failed[str(path)] = str(error)
            report(number / len(needed), f"small frames of {number}/{len(needed)} videos")
        parts = Parts(*([row for row in part if row.video in cached] for part in self._parts))
        labels = {row.label for row in parts.training} - {None}
        few = self._request.config.batch_size > len(parts.training) * self._request.config.tsp.clips_per_row
        if few or not any(row.label in labels for row in parts.held_out):
            reason = next(iter(self._failed.values()), "")
            raise PipelineError(
                f"too few videos can be read to learn from and to choose the epoch, the first: {reason}"
            )
        windows = {video: self._windows_of(video) for video in cached}
        words = rows_in_words(self._counts, self._request.config.tsp)
        if self._lacking:
            words += f"; the held-out videos do not show {first_of(self._lacking)}"
        data = TspData(parts, cached, windows, folder.with_suffix(".gvf.safetensors"), words, self._failed)
        return TspTask(self._request, data, with_region=self._with_region)

    def _needed_cells(self) -> dict[str, NDArray[np.int64]]:
        """Return the cells that clips of any epoch, or the global feature, take from each video, ascending."""
        config, taken = self._request.config, np.array(cells_of(self._request.spec), np.int64)
        count, seed = config.tsp.clips_per_row, config.seed
        starts: dict[str, list[int]] = {video: [] for video in sorted(self._videos)}
        for row in self._parts.training:
            for epoch in range(config.epochs):
                starts[row.video] += training_starts(row, seed=seed, epoch=epoch, count=count)
        for row in (*self._parts.held_out, *self._parts.validation):
            starts[row.video] += even_starts(row, count=count)
        needed = {}
        for video, of_video in starts.items():
            of_windows = np.array(self._windows_of(video), np.int64).ravel()
            of_clips = (np.array(of_video, np.int64)[:, None] + taken).ravel()
            needed[video] = np.unique(np.concatenate([of_clips, of_windows]))
        return needed

    def _windows_of(self, video: str) -> list[list[int]]:
        spec, config = self._request.spec, self._request.config.tsp
        if not self._with_region or config.global_feature == "none":
            return []
        return whole_windows(self._videos[video].total, spec.window_frames, cells_of(spec))


def _facts(row: Row) -> Iterator[object]:
    yield from (row.label, row.span, row.first, row.spare, row.index)


def _refuse_too_little(rows: Sequence[Row], found: str, *, with_region: bool) -> None:
    labels = {row.label for row in rows if row.label is not None}
    if not labels:
        raise PipelineError(f"the training subset must have segments to learn from, got {found}")
    if not with_region and len(labels) < 2:
        raise PipelineError(f"task tac needs segments of two classes or more, got {sorted(labels)}")
    if with_region and all(row.label is not None for row in rows):
        raise PipelineError(
            f"task tsp needs gaps between segments that are as long as a clip, got {found}: trimmed clips teach it "
            "nothing; take --task tac, or annotate untrimmed videos"
        )


def _refuse_full_disk(folder: Path, needed: int) -> None:
    there = sum(file.stat().st_size for file in folder.glob("*.npy"))
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed - there > free:
        raise PipelineError(
            f"the small frames need {needed / 1e9:.1f} GB in {folder}, where {(free + there) / 1e9:.1f} GB are free; "
            "lower --size, --epochs or --tsp.clips-per-row, or choose --out on another disk"
        )
