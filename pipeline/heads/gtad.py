"""G-TAD: snippets as nodes of a graph, actions as sub-graphs; every pair of start and end is scored.

Source: Xu et al. 2020, "G-TAD" (arXiv 1911.11462). Own choices: sampling by interpolation weights instead of a custom
kernel; class scores for each pair, so that no external classifier is needed (with one class it is the paper's proposal
network); the pair that fits a segment best is a positive even if no pair reaches the paper's tIoU of 0.9; weights
balance the regression, instead of random sampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.heads.base import Head
from pipeline.heads.blocks import MaskedConv
from pipeline.heads.candidates import Candidates, tiou
from pipeline.heads.config import HeadConfig
from pipeline.heads.gtad_layers import AlignSubGraphs, GcnextBlock, anchor_rows, neighbor_mean
from pipeline.heads.targets import SegmentTargets
from sola.device import chosen_rows, sent

SEMANTIC_SAMPLES = 4
CONTEXT = 0.5  # how far a pair's features reach beyond either end, as a share of its length
BOUNDARY_REACH_SNIPPETS = 1.5  # snippets nearer than this to a boundary are positives
CONFIDENT_TIOU = 0.9
CLASSIFIED_TIOU = 0.5
REGRESSION_WEIGHT = 10.0


@dataclass(frozen=True)
class GtadOutput:
    """The outputs for T snippets and A anchors (pairs of start and end).

    `boundary` [B, T, 2] logits of start and end; `mask` [B, T] bool; `anchors` [A, 2] int64, the first
    row and the row after the last; `valid` [B, A] bool, False where an anchor reaches into padding (these three on the
    device of the mask that `forward` was given); `quality`
    [B, A, 2] logits of confidence (fits a segment) and of the tIoU; `classes` [B, A, K] logits.
    """

    boundary: Tensor
    mask: Tensor
    anchors: Tensor
    valid: Tensor
    quality: Tensor
    classes: Tensor

    @property
    def segments(self) -> Tensor:
        """[A, 2] float: the extent of each anchor in snippets; row i covers i - 0.5 to i + 0.5."""
        return self.anchors.float() - 0.5


class GtadHead(Head):
    """Scores every run of up to `gtad_max_duration_snippets` snippets."""

    def __init__(self, channels: int, num_classes: int, config: HeadConfig) -> None:
        super().__init__(channels, num_classes, config)
        width, half = config.embed_dim, config.embed_dim // 2
        self.project = MaskedConv(channels, width, config.kernel)
        self.stem = nn.ModuleList(_block(config) for _ in range(config.stem_blocks))
        self.node_block = _block(config)
        self.boundary = MaskedConv(width, 2, 1)
        self.pair_block = _block(config)
        self.align = AlignSubGraphs(width, half, samples=config.gtad_samples, context=CONTEXT)
        self.align_semantic = AlignSubGraphs(width, half, samples=SEMANTIC_SAMPLES, context=0.0)
        self.score = nn.Sequential(
            nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(half, half), nn.ReLU(), nn.Linear(half, 2 + num_classes)
        )

    def forward(self, features: Tensor, mask: Tensor) -> GtadOutput:
        """Return boundary and pair scores; arguments as in `Head.forward`."""
        x, valid = self._prepare(features, mask)
        x = F.relu(self.project(x, valid))
        for block in self.stem:
            x = block(x, valid)
        boundary = self.boundary(self.node_block(x, valid), valid).transpose(1, 2)
        x = self.pair_block(x, valid)
        longest = self.config.gtad_max_duration_snippets
        semantic = neighbor_mean(x, valid, self.config.gtad_neighbors)
        pairs = self.align(x, longest=longest) + self.align_semantic(semantic, longest=longest)
        scores = self.score(pairs)
        anchors = anchor_rows(x.shape[2], longest, mask.device)
        inside = anchors[:, 1] <= mask.sum(dim=1, keepdim=True)
        return GtadOutput(boundary, mask, anchors, inside, scores[..., :2], scores[..., 2:])

    def loss(self, outputs: GtadOutput, targets: Sequence[SegmentTargets]) -> dict[str, Tensor]:
        """Return boundary, confidence, tIoU and class losses, means over the batch; arguments as in `Head.loss`."""
        rows = [self._loss_of(outputs, row, target) for row, target in enumerate(targets)]
        return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}

    def _loss_of(self, outputs: GtadOutput, row: int, target: SegmentTargets) -> dict[str, Tensor]:
        valid, mask, device = outputs.valid[row], outputs.mask[row], outputs.quality.device
        centers = torch.arange(len(mask), device=mask.device)[:, None, None]
        near = ((centers - target.segments).abs() < BOUNDARY_REACH_SNIPPETS).any(dim=1)  # [T, 2]
        near = sent(near[mask].float(), device)
        inside, pairs = (sent(chosen.nonzero()[:, 0], device) for chosen in (mask, valid))
        boundary = sum(balanced_cross_entropy(outputs.boundary[row, inside, side], near[:, side]) for side in (0, 1))
        fit, segment, best = match_anchors(outputs.segments[valid], target.segments)
        quality, classes = outputs.quality[row, pairs], outputs.classes[row, pairs]
        confident = sent(((fit > CONFIDENT_TIOU) | best).float(), device)
        named = (fit > CLASSIFIED_TIOU) | best
        wanted = sent(target.labels[segment[named]], device)
        naming = F.cross_entropy(chosen_rows(classes, named), wanted) if len(wanted) else classes.sum() * 0.0
        return {
            "boundary": torch.as_tensor(boundary),
            "confidence": balanced_cross_entropy(quality[:, 0], confident),
            "tiou": REGRESSION_WEIGHT * balanced_square_error(quality[:, 1].sigmoid(), sent(fit, device)),
            "classification": naming,
        }

    def candidates(self, outputs: GtadOutput, *, min_score: float) -> list[Candidates]:
        """Return every valid pair and class of at least `min_score`, for each sequence of the batch.

        The score is the product of start, end, confidence and tIoU probability, as in the paper, times the class
        probability.
        """
        boundary, quality = outputs.boundary.sigmoid(), outputs.quality.sigmoid()
        ends = boundary[:, outputs.anchors[:, 0], 0] * boundary[:, outputs.anchors[:, 1] - 1, 1]
        scores = ends * quality.prod(dim=2)
        found = []
        for row, pair_scores in enumerate(scores):
            pair = (outputs.valid[row] & (pair_scores >= min_score)).nonzero()[:, 0]
            by_class = pair_scores[pair, None] * outputs.classes[row, pair].softmax(dim=1)
            which, label = (by_class >= min_score).nonzero(as_tuple=True)
            found.append(Candidates(outputs.segments[pair[which]], label, by_class[which, label]))
        return found


def match_anchors(anchors: Tensor, segments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each anchor its highest tIoU [A], that segment [A], and whether it is some segment's best anchor [A].

    Args:
        anchors: [A, 2].
        segments: [N, 2], N >= 0.
    """
    if len(segments) == 0 or len(anchors) == 0:
        zeros = anchors.new_zeros(len(anchors))
        return zeros, zeros.long(), zeros.bool()
    overlap = tiou(anchors[:, None], segments)
    fit, segment = overlap.max(dim=1)
    highest = overlap.amax(dim=0)
    # A pair with little overlap (the segment is longer than any pair) is not a positive.
    best = ((overlap == highest) & (highest > CLASSIFIED_TIOU)).any(dim=1)
    return fit, segment, best


def balanced_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean binary cross-entropy, positives and negatives weighted half each, even if one side is absent.

    Source: Lin et al. 2019, "BMN" (arXiv 1907.09702), equation 9, which G-TAD adopts.
    """
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    positives = targets.sum().clamp(min=1)
    negatives = (1 - targets).sum().clamp(min=1)
    return 0.5 * ((losses * targets).sum() / positives + (losses * (1 - targets)).sum() / negatives)


def balanced_square_error(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean squared error, weighted as if high (> 0.7), middle (> 0.3) and low targets were equally frequent.

    Middle and low targets never weigh more than a high one each. Their total weight is the number of high ones, at
    least 1.
    """
    high, low = wanted > 0.7, wanted <= 0.3
    middle = ~high & ~low
    count = high.sum().clamp(min=1)
    weight = high.float()
    for group in (middle, low):
        weight = weight + group * (count / group.sum().clamp(min=1)).clamp(max=1.0)
    return (weight * (predicted - wanted) ** 2).sum() / weight.sum().clamp(min=1e-8)


def _block(config: HeadConfig) -> GcnextBlock:
    return GcnextBlock(
        config.embed_dim, kernel=config.kernel, groups=config.gtad_groups, neighbors=config.gtad_neighbors
    )
