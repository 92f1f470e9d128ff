"""Make padded training batches from annotated videos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pipeline.annotations.segments import PROPOSAL_LABEL, Segment, seconds_to_snippets
from pipeline.errors import PipelineError
from pipeline.heads.candidates import RowTimes
from pipeline.heads.resize import rescale_snippets, resize_rows
from pipeline.heads.targets import SegmentTargets
from sola.device import sent

# A segment cut by a crop is kept if at least this share of it is inside (as in ActionFormer).
KEPT_SHARE = 0.5
CROP_TRIES = 20


@dataclass(frozen=True, kw_only=True)
class TrainItem:
    """One video to train or validate on.

    `features` [T, C] float32 or float16, or a function that reads them; `segments` in seconds;
    `stride_seconds` between rows, `window_seconds` what a row covers, `duration_seconds` of the video.
    """

    video_id: str
    features: np.ndarray | Callable[[], np.ndarray]
    segments: Sequence[Segment]
    stride_seconds: float
    window_seconds: float
    duration_seconds: float

    @property
    def times(self) -> RowTimes:
        """What the rows mean."""
        return RowTimes(self.stride_seconds, self.window_seconds, self.duration_seconds)

    def load(self) -> np.ndarray:
        """Return the features, [T, C] float32, T >= 1.

        Raises:
            PipelineError: they have another shape.
        """
        rows = self.features() if callable(self.features) else self.features
        if rows.ndim != 2 or 0 in rows.shape:
            raise PipelineError(f"features of video {self.video_id!r} must be [T, C], got shape {rows.shape}")
        return np.asarray(rows, dtype=np.float32)

    def as_proposals(self) -> "TrainItem":
        """Return the item with every segment labeled `PROPOSAL_LABEL`."""
        return replace(self, segments=[Segment(segment.segment, PROPOSAL_LABEL) for segment in self.segments])

    def targets(self, labels: Sequence[str]) -> SegmentTargets:
        """Return the segments in snippets, with classes as positions in `labels`.

        Raises:
            PipelineError: a segment has another label.
        """
        unknown = sorted({segment.label for segment in self.segments} - set(labels))
        if unknown:
            raise PipelineError(f"labels of video {self.video_id!r} must be among those trained, got {unknown}")
        seconds = np.array([segment.segment for segment in self.segments], dtype=np.float64).reshape(-1, 2)
        snippets = seconds_to_snippets(seconds, stride_seconds=self.stride_seconds, window_seconds=self.window_seconds)
        index = [labels.index(segment.label) for segment in self.segments]
        return SegmentTargets(torch.from_numpy(snippets).float(), torch.tensor(index, dtype=torch.long))


@dataclass(frozen=True)
class Batch:
    """`features` [B, T, C] float32, zeros under padding; `mask` [B, T] bool; `targets` of each row.

    Mask and targets stay on the CPU: what the loss compares is worked out there, so that nothing waits for a GPU.
    """

    features: Tensor
    mask: Tensor
    targets: list[SegmentTargets]

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with its features on `device`."""
        return replace(self, features=sent(self.features, device))


def make_batch(
    items: Sequence[TrainItem],
    *,
    labels: Sequence[str],
    max_snippets: int,
    rng: np.random.Generator,
    resize_snippets: int = 0,
) -> Batch:
    """Return the items as one batch, padded to the longest.

    Each item is resized to `resize_snippets` rows if that is not 0, then cropped at random to `max_snippets`.

    Raises:
        PipelineError: features differ in their number of channels.
    """
    whole = [_resized(item.load(), item.targets(labels), resize_snippets) for item in items]
    cut = [random_crop(rows, targets, limit=max_snippets, rng=rng) for rows, targets in whole]
    longest = max(len(rows) for rows, _ in cut)
    channels = {rows.shape[1] for rows, _ in cut}
    if len(channels) > 1:
        raise PipelineError(f"all features must have the same number of channels, got {sorted(channels)}")
    features = torch.zeros(len(cut), longest, channels.pop())
    mask = torch.zeros(len(cut), longest, dtype=torch.bool)
    for index, (rows, _) in enumerate(cut):
        features[index, : len(rows)] = torch.from_numpy(rows)
        mask[index, : len(rows)] = True
    return Batch(features, mask, [targets for _, targets in cut])


def _resized(rows: np.ndarray, targets: SegmentTargets, length: int) -> tuple[np.ndarray, SegmentTargets]:
    if length == 0:
        return rows, targets
    segments = rescale_snippets(targets.segments, source=len(rows), target=length)
    return resize_rows(rows, length), SegmentTargets(segments, targets.labels)


def random_crop(
    rows: np.ndarray, targets: SegmentTargets, *, limit: int, rng: np.random.Generator
) -> tuple[np.ndarray, SegmentTargets]:
    """Return at most `limit` consecutive rows, if possible with a segment, and the segments inside them.

    Segments that the crop cuts are shortened, or dropped if less than half of them is inside.
    """
    if len(rows) <= limit:
        return rows, targets
    for _ in range(CROP_TRIES):
        begin = int(rng.integers(0, len(rows) - limit + 1))
        inside = segments_inside(targets, begin=begin, length=limit)
        if len(inside.segments):
            break
    return rows[begin : begin + limit], inside


def segments_inside(targets: SegmentTargets, *, begin: int, length: int) -> SegmentTargets:
    """Return the segments inside rows `begin` to `begin + length`, in snippets counted from `begin`."""
    # A row covers half a stride on either side of its center.
    clipped = targets.segments.clamp(begin - 0.5, begin + length - 0.5)
    share = (clipped[:, 1] - clipped[:, 0]) / (targets.segments[:, 1] - targets.segments[:, 0])
    keep = share >= KEPT_SHARE
    return SegmentTargets(clipped[keep] - begin, targets.labels[keep])


def feature_statistics(items: Sequence[TrainItem], *, most_items: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, [C] float32 each, over at most `most_items` random items.

    Raises:
        PipelineError: features differ in their number of channels.
    """
    chosen = np.random.default_rng(seed).permutation(len(items))[:most_items]
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    # Sum differences to the first row: with large means, plain sums would lose the digits of the variance.
    origin: np.ndarray | None = None
    for index in np.sort(chosen):
        rows = items[index].load().astype(np.float64)
        origin = rows[0] if origin is None else origin
        if rows.shape[1:] != origin.shape:
            raise PipelineError(
                f"features of video {items[index].video_id!r} must have {len(origin)} channels like the others, "
                f"got {rows.shape[1]}"
            )
        count += len(rows)
        total = total + (rows - origin).sum(axis=0)
        squares = squares + ((rows - origin) ** 2).sum(axis=0)
    assert origin is not None
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return torch.from_numpy(mean + origin).float(), torch.from_numpy(std).float()


def one_deviation(std: Tensor, streams: Sequence[int] = ()) -> Tensor:
    """Return the root mean square of the deviations of each stream's channels, [C], the same for all of a stream.

    A rotation of the channels of a stream does not change it.

    Args:
        std: [C], of each channel.
        streams: channels of each stream; empty for one stream.
    """
    parts = std.split(list(streams) or [len(std)])
    return torch.cat([part.square().mean().sqrt().expand(len(part)) for part in parts])
