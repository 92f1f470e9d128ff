"""Turn the frames of a video into the pictures of two-stream snippets: RGB and flow in five channels.

A picture is uint8 [S, S, 5]: the RGB of a grid cell's frame, and the flow (right, down; see `pipeline.video.flow`) from
that frame to the frame of the next cell. Flow is estimated on whole scaled frames, as for published features, and then
cropped with the frame. The flow between two frames is estimated once, however many snippets overlap and however many
cells show these frames, and only if a snippet needs it.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.snippets import SnippetPlan
from pipeline.video.decode import Chunk
from pipeline.video.flow import NO_MOTION, Estimate, flow_as_bytes
from pipeline.video.pictures import Framing
from pipeline.video.report import DecodeReport
from pipeline.video.schedule import SnippetFrames

PICTURE_CHANNELS = 5
_PAIRS_AHEAD = 2  # for each thread: enough to keep all busy while the oldest snippet is unfinished


@dataclass(frozen=True)
class WholeFrames:
    """The framing of an encoder without its crop."""

    encoder: Framing

    @property
    def crop_size(self) -> int:
        return self.encoder.crop_size

    @property
    def interpolation(self) -> str:
        return self.encoder.interpolation

    def resized(self, height: int, width: int) -> tuple[int, int]:
        return self.encoder.resized(height, width)

    def crop_box(self, height: int, width: int) -> tuple[int, int, int]:
        return 0, 0, max(height, width)  # slicing stops at the border, so this keeps the whole frame


class PictureMaker:
    """Makes pictures in threads.

    Args:
        make: returns an estimator; called once in each thread.
        spec: its `crop_box` is applied to the scaled frames.
        threads: pairs of frames in work at a time.
    """

    def __init__(self, make: Callable[[], Estimate], spec: Framing, *, threads: int) -> None:
        self._make = make
        self._spec = spec
        self._own = threading.local()
        self._executor = ThreadPoolExecutor(threads)
        self.most_waiting = _PAIRS_AHEAD * threads

    def submit(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Future[NDArray[np.uint8]]:
        """Start the picture of frame `first` with next frame `second`, uint8 [H, W, 3]; the same object: no motion."""
        return self._executor.submit(self._picture, first, second)

    def _picture(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint8]:
        top, left, size = self._spec.crop_box(*first.shape[:2])
        kept = slice(top, top + size), slice(left, left + size)
        picture = np.full((size, size, PICTURE_CHANNELS), NO_MOTION, np.uint8)
        picture[..., :3] = first[kept]
        if first is not second:
            picture[..., 3:] = flow_as_bytes(self._estimator()(first, second)[kept])
        return picture

    def _estimator(self) -> Estimate:
        if not hasattr(self._own, "estimate"):
            self._own.estimate = self._make()
        estimate: Estimate = self._own.estimate
        return estimate


def flow_pictures(
    items: Iterable[Chunk | DecodeReport],
    plan: SnippetPlan,
    maker: PictureMaker,
    *,
    progress: Callable[[], None],
) -> Iterator[Chunk | DecodeReport]:
    """Replace the frames in the chunks of `decode` by pictures; each chunk completes one snippet.

    Ordinals count pictures, in the order in which snippets first need them. This is not the order of time if there are
    gaps between the windows of snippets.

    Args:
        items: from `decode(…, WholeFrames(spec))`.
        plan: a plan with `flow`.
        maker: works ahead, on a few snippets after the next one.
        progress: called for every picture.
    """
    numbering = _Numbering(plan)
    waiting: deque[_Making] = deque()
    try:
        for item in items:
            if isinstance(item, Chunk):
                for snippet in numbering.take(item, maker):
                    waiting.append(snippet)
                    # Thousands of snippets of a frame that is shown for hours share its picture.
                    while sum(max(1, len(snippet.pictures)) for snippet in waiting) > maker.most_waiting:
                        yield waiting.popleft().finished(progress)
                continue
            while waiting:
                yield waiting.popleft().finished(progress)
            yield item
        while waiting:
            yield waiting.popleft().finished(progress)
    finally:
        _cancel(waiting)


@dataclass(frozen=True)
class _Making:
    """A completed snippet, the pictures that it is the first to need, and the oldest picture needed after it."""

    snippet: SnippetFrames
    first_ordinal: int
    pictures: list[Future[NDArray[np.uint8]]]
    keep_from: int

    def finished(self, progress: Callable[[], None]) -> Chunk:
        for picture in as_completed(self.pictures):
            picture.result()
            progress()
        pictures = tuple(picture.result() for picture in self.pictures)
        return Chunk(self.first_ordinal, pictures, (self.snippet,), self.keep_from)


def _cancel(waiting: deque[_Making]) -> None:
    for snippet in waiting:
        for picture in snippet.pictures:
            picture.cancel()
    waiting.clear()


class _Numbering:
    """Numbers the pictures of one pass over a video."""

    def __init__(self, plan: SnippetPlan) -> None:
        self._pairs = plan.pairs
        self._frames: dict[int, NDArray[np.uint8]] = {}  # by ordinal; only those that may still be needed
        self._pictures: dict[tuple[int, int], int] = {}  # ordinal by the ordinals of two frames; likewise
        self._made = 0

    def take(self, chunk: Chunk, maker: PictureMaker) -> Iterator[_Making]:
        """Start the pictures of the snippets that `chunk` completes; yield these snippets."""
        for ordinal, frame in enumerate(chunk.frames, start=chunk.first_ordinal):
            self._frames[ordinal] = np.ascontiguousarray(frame)
        for place, snippet in enumerate(chunk.snippets):
            later = chunk.snippets[place + 1 :]
            keep_from = later[0].ordinals[0] if later else chunk.keep_from
            yield self._begin(snippet, keep_from, maker)
        self._frames = {ordinal: frame for ordinal, frame in self._frames.items() if ordinal >= chunk.keep_from}

    def _begin(self, snippet: SnippetFrames, keep_from: int, maker: PictureMaker) -> _Making:
        """Start the new pictures of a snippet; later snippets need no frame with an ordinal below `keep_from`."""
        first, new, ordinals = self._made, [], []
        for one, other in self._pairs:
            pair = (snippet.ordinals[one], snippet.ordinals[other])
            if pair not in self._pictures:
                self._pictures[pair] = self._made
                self._made += 1
                new.append(maker.submit(self._frames[pair[0]], self._frames[pair[1]]))
            ordinals.append(self._pictures[pair])
        self._pictures = {pair: ordinal for pair, ordinal in self._pictures.items() if pair[0] >= keep_from}
        oldest = min(self._pictures.values(), default=self._made)
        return _Making(SnippetFrames(snippet.row, tuple(ordinals)), first, new, oldest)


def most_pictures_held(plan: SnippetPlan) -> int:
    """Return a bound, for any video, on the pictures between the oldest one still needed and the newest.

    The windows of all snippets since the one that made the oldest picture lie within one window before and one after
    the moments at which that picture is shown. These moments span less than two cells, unless a frame stands still:
    during that time no new picture is made, so only the pictures before and after it count.
    """
    span = plan.window_frames + 2
    overlap = math.ceil(span / plan.stride_frames) + 1
    # The pattern of moments repeats with every stride: the middle one, with enough neighbors, shows it all.
    moments = sorted({row * plan.stride_frames + cell for row in range(2 * overlap + 2) for cell in plan.cells})
    begin, end = overlap * plan.stride_frames, (overlap + 1) * plan.stride_frames
    within = (
        bisect_right(moments, moment + span) - place for place, moment in enumerate(moments) if begin <= moment < end
    )
    return 2 * max(within) + 1
