"""Annotated segments of untrimmed videos as clips, and their frames in one pass over each video."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.annotations import Annotations, VideoAnnotations, adopt_ids, canonical_subset, read_annotations
from pipeline.errors import PipelineError
from pipeline.pretraining.clips import MAX_CORRUPT, Clip, Whole, cut
from pipeline.pretraining.config import PretrainConfig
from pipeline.snippets import exact, tick_of
from pipeline.storage.location import local
from pipeline.video.errors import VideoError
from pipeline.video.find import find_videos
from pipeline.video.metadata import probe
from pipeline.video.pictures import Geometry
from pipeline.video.pyav_backend import DecodeCounts, shown_frames
from pipeline.video.rates import fps_among
from pipeline.video.report import refuse_truncated
from pipeline.video.videos import VideoFile

BACKGROUND = "background"


def segment_clips(
    source: Path, annotations_file: Path, config: PretrainConfig, *, shortest_seconds: float
) -> tuple[list[Clip], list[Clip]]:
    """Return the segments of the training subset and of the validation subset; a clip's group is its video.

    Segments of the validation subset whose class the training subset lacks are left out: the encoder cannot learn
    their class.

    Args:
        source: videos, as for `extract`; those without annotations are not used.
        annotations_file: ground truth.
        config: subsets, the longest stretch of a segment, and whether the gaps are clips too.
        shortest_seconds: minimum length of a gap that counts as background.

    Raises:
        PipelineError: bad annotations, a subset without segments, or one class only.
    """
    annotations, videos = annotated_videos(source, annotations_file, config)
    if config.background and BACKGROUND in annotations.labels:
        raise PipelineError(f"{annotations_file} has a class {BACKGROUND!r} of its own; leave out --background")
    sides = []
    for subset in (config.train_subset, config.validation_subset):
        known = annotations.in_subset(subset).videos
        there = [(videos[name], video) for name, video in sorted(known.items()) if name in videos]
        sides.append([clip for file, video in there for clip in _clips_of(file, video, config, shortest_seconds)])
        if not sides[-1]:
            raise PipelineError(f"no video of subset {subset!r} of {annotations_file} with segments is in {source}")
    training = sides[0]
    labels = {clip.label for clip in training}
    if len(labels) < 2:
        raise PipelineError(f"{annotations_file} must have segments of two classes or more, got {sorted(labels)}")
    return training, [clip for clip in sides[1] if clip.label in labels]


def annotated_videos(
    source: Path, annotations_file: Path, config: PretrainConfig
) -> tuple[Annotations, dict[str, VideoFile]]:
    """Return the annotations, under the ids of the videos, and the videos in `source` by id.

    Raises:
        PipelineError: no videos, bad annotations, or one subset for both sides.
    """
    wanted = (config.train_subset, config.validation_subset)
    if canonical_subset(wanted[0]) == canonical_subset(wanted[1]):
        raise PipelineError(f"train_subset and validation_subset must be two subsets, got {wanted[0]!r} twice")
    videos = {video.id: video for video in find_videos([source])}
    truth = read_annotations(
        annotations_file, tolerance_seconds=config.tolerance_seconds, subsets=wanted, fps_of=fps_among(videos)
    )
    return adopt_ids(truth, videos), videos


def _clips_of(file: VideoFile, video: VideoAnnotations, config: PretrainConfig, shortest: float) -> Iterator[Clip]:
    """Yield each clip once, ordered by time: a file may hold the same segment twice."""
    spans = {(segment.segment, segment.label): None for segment in video.segments}
    if config.background:
        spans |= {(gap, BACKGROUND): None for gap in gaps(video) if gap[1] - gap[0] >= shortest}
    for (start, end), label in sorted(spans):
        spare = max(0.0, end - start - config.max_segment_seconds) / 2
        yield Clip(local(file.path), label, file.id, (start + spare, end - spare))


def gaps(video: VideoAnnotations) -> Iterator[tuple[float, float]]:
    """Yield the stretches (start, end) in seconds that no segment covers, not even an ambiguous one."""
    reached = 0.0
    for start, end in sorted(segment.segment for segment in (*video.segments, *video.ambiguous)):
        if start > reached:
            yield reached, start
        reached = max(reached, end)
    if video.duration is not None and video.duration > reached:
        yield reached, video.duration


def span_frames(
    path: Path, spans: Sequence[tuple[float, float]], *, fps: float, size: Whole
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the frames of parts of a video on a grid of `fps` a second, in one pass that stops after the last part.

    A part has the grid cells whose middle lies in [start, end), and at least one. Only its frames are converted.

    Args:
        spans: (start, end) of each part in seconds, start < end; the rest beyond the video's end is left out.
        size: height and width.

    Yields:
        The index in `spans` and the frames, uint8 [F, height, width, 3], as soon as the part is complete.

    Raises:
        VideoError: the video cannot be decoded, or it ends before a part begins.
    """
    info = probe(path)
    refuse_truncated(info)
    cells = [_cells(span, fps, float(info.duration)) for span in spans]
    last = max(wanted.stop for wanted in cells)
    rate, tally, cell = exact(fps), DecodeCounts(), 0
    kept: dict[int, list[NDArray[np.uint8]]] = {}

    def is_over(cell: int, end: int | None) -> bool:
        """Return whether the frame shown until `end` has gone by the middle of the cell."""
        return end is not None and tick_of((cell + Fraction(1, 2)) / rate, info.time_base) >= end

    for shown in shown_frames(info, Geometry.of(info, size), tally):
        first = cell
        while cell < last and not is_over(cell, shown.end):
            cell += 1
        picture: NDArray[np.uint8] | None = None
        for place, wanted in enumerate(cells):
            shared = min(wanted.stop, cell) - max(wanted.start, first)
            if shared <= 0:
                continue
            if picture is None:
                picture = np.ascontiguousarray(cut(shown.picture(), size.height, size.width))
            kept.setdefault(place, []).extend([picture] * shared)
            if cell >= wanted.stop:
                _refuse_damaged(tally)
                yield place, np.stack(kept.pop(place))
        if cell >= last:
            return


def _cells(span: tuple[float, float], fps: float, duration: float) -> range:
    start, end = span[0], min(span[1], duration)
    if start >= duration:
        raise VideoError("too_short", f"a segment begins at {start:g} s, the video ends at {duration:g} s")
    first = math.ceil(start * fps - 0.5)
    return range(first, max(first + 1, math.ceil(end * fps - 0.5)))


def _refuse_damaged(tally: DecodeCounts) -> None:
    damaged = tally.flagged + tally.refused + tally.disordered
    if damaged > MAX_CORRUPT * tally.decoded:
        raise VideoError("corrupt", f"{damaged} of the first {tally.decoded} frames are damaged")
