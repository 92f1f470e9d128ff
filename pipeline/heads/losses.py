"""The two losses of the anchor-free head, elementwise."""

import torch.nn.functional as F
from torch import Tensor


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """Return the focal loss of each element, shaped like `logits`.

    Args:
        logits: any shape, float.
        targets: same shape, from 0 to 1.
        alpha: weight of positives; negatives weigh 1 - alpha.
        gamma: exponent that reduces the weight of well-classified elements.

    Source: Lin et al. 2017 (arXiv 1708.02002), equation 5.
    """
    probability = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    missed = probability * (1 - targets) + (1 - probability) * targets
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    return weight * missed**gamma * cross_entropy


def diou_loss_1d(predicted: Tensor, target: Tensor) -> Tensor:
    """Return 1 - tIoU + (distance of the centers / length of the hull)**2 of each pair of segments, [N].

    Args:
        predicted, target: [N, 2] distances >= 0 from one common point to the start and to the end, any unit.

    Source: Zheng et al. 2019 (arXiv 1911.08287), equation 7, in one dimension.
    """
    # Both segments contain the point, so overlap and hull are sums of the smaller and of the larger distances.
    overlap = predicted.minimum(target).sum(dim=-1)
    hull = predicted.maximum(target).sum(dim=-1).clamp(min=1e-8)
    union = (predicted.sum(dim=-1) + target.sum(dim=-1) - overlap).clamp(min=1e-8)
    shift = predicted - target
    center_distance = 0.5 * (shift[..., 1] - shift[..., 0])
    return 1 - overlap / union + (center_distance / hull) ** 2
