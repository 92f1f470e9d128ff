"""Detect actions in the feature rows of one video. Rows may arrive in chunks and need not fit into memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.annotations.segments import Detection
from pipeline.detection.nms import suppress
from pipeline.errors import PipelineError
from pipeline.heads.base import Head
from pipeline.heads.candidates import Candidates, RowTimes, to_seconds
from pipeline.heads.config import PostConfig
from pipeline.heads.resize import rescale_snippets, resize_rows

NO_ROWS = "features must have at least one row, got none"


@dataclass(frozen=True)
class Window:
    """`rows` [n, C] float32 of a longer sequence from row `start` on, and the part that the window covers alone.

    `owned` is a half-open range of snippet coordinates of the whole sequence: segments with their center in it are
    taken from this window.
    """

    start: int
    rows: np.ndarray
    owned: tuple[float, float]


def detect(
    head: Head,
    chunks: Iterable[np.ndarray],
    times: RowTimes | Callable[[], RowTimes],
    *,
    labels: Sequence[str],
    post: PostConfig,
    device: str | torch.device = "cpu",
) -> list[Detection]:
    """Return the video's detections, best first; the way that rows are cut into chunks does not change a bit.

    Windows that overlap by half cover sequences of more rows than `head.config.test_limit`. A segment is taken from
    the window whose middle half contains its center (or outer quarter, for the first and the last window), so none is
    taken from the edge of a window. With `head.config.resize_snippets` the whole sequence is held in memory and
    resized first.

    Args:
        head: is moved to `device` and put into evaluation mode.
        chunks: arrays [n, C], float32 or float16, n >= 0, the video's rows in order.
        times: what the rows mean in seconds; or a function that returns it, called after the last chunk.
        labels: name of each class, in the head's order.
        post: suppression and limits.

    Raises:
        PipelineError: no rows, another number of channels than the head's, or values that are not finite.
    """
    if len(labels) != head.num_classes:
        raise PipelineError(
            f"labels must be {head.num_classes} names, one for each class of the head, got {len(labels)}"
        )
    head.to(device).eval()
    found = _candidates(head, chunks, post, torch.device(device))
    kept = suppress(to_seconds(found, times() if callable(times) else times), post)
    return [
        Detection((start, end), labels[label], score)
        for (start, end), label, score in zip(
            kept.segments.tolist(), kept.labels.tolist(), kept.scores.tolist(), strict=True
        )
    ]


def windows(chunks: Iterable[np.ndarray], *, length: int) -> Iterator[Window]:
    """Yield the windows that cover a sequence: one if it has at most `length` rows, else overlapping by half.

    Each has `length` rows, the last more than half of that. Their owned ranges have no gap and no overlap.

    Raises:
        PipelineError: no rows, chunks of different widths, or values that are not finite.
    """
    half, quarter = length // 2, length // 4
    held = np.empty((0, 0), dtype=np.float32)
    start = 0
    for piece in _pieces(chunks, rows=half):
        if len(held) and piece.shape[1] != held.shape[1]:
            raise PipelineError(f"chunks must agree in channels, got {held.shape[1]} and then {piece.shape[1]}")
        held = np.concatenate([held, piece]) if len(held) else piece
        # A row beyond the window shows that the window is not the last.
        if len(held) > length:
            begin = -np.inf if start == 0 else start + quarter
            yield Window(start, held[:length], (begin, start + half + quarter))
            held, start = held[half:], start + half
    if len(held) == 0:
        raise PipelineError(NO_ROWS)
    yield Window(start, held, (-np.inf if start == 0 else start + quarter, np.inf))


def _pieces(chunks: Iterable[np.ndarray], *, rows: int) -> Iterator[np.ndarray]:
    for chunk in chunks:
        if chunk.ndim != 2:
            raise PipelineError(f"chunks must be arrays [n, C], got shape {chunk.shape}")
        for begin in range(0, len(chunk), rows):
            piece = np.asarray(chunk[begin : begin + rows], dtype=np.float32)
            if not np.isfinite(piece).all():
                raise PipelineError("features must be finite, got NaN or infinity; extract this video again")
            yield piece


def _candidates(head: Head, chunks: Iterable[np.ndarray], post: PostConfig, device: torch.device) -> Candidates:
    """Return the best candidates of the video, in snippets, in float64 on the CPU."""
    resized = head.config.resize_snippets
    if resized:
        rows = np.concatenate([*_pieces(chunks, rows=head.config.test_limit)] or [np.empty((0, 0))])
        if len(rows) == 0:
            raise PipelineError(NO_ROWS)
        chunks = [resize_rows(rows, resized)]
    found: Candidates | None = None
    for window in windows(chunks, length=head.config.test_limit):
        new = answer(head, window, post, device)
        # Keep only the best after each window: memory depends on the window, not on the video.
        found = new if found is None else Candidates.join([found, new]).best(post.pre_nms_topk)
    assert found is not None
    if not resized:
        return found
    segments = rescale_snippets(found.segments, source=resized, target=len(rows))
    return Candidates(segments, found.labels, found.scores)


@torch.no_grad()
def answer(head: Head, window: Window, post: PostConfig, device: torch.device) -> Candidates:
    """Return the candidates whose centers a window answers for, in rows of the whole sequence."""
    features = torch.from_numpy(window.rows)[None].to(device)
    mask = torch.ones(features.shape[:2], dtype=torch.bool, device=device)
    [found] = head.candidates(head(features, mask), min_score=post.min_score)
    found = found.on_cpu_in_double()
    found = Candidates(found.segments + window.start, found.labels, found.scores)
    centers = found.segments.mean(dim=1)
    return found.select((centers >= window.owned[0]) & (centers < window.owned[1])).best(post.pre_nms_topk)
