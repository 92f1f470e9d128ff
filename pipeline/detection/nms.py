"""Suppress overlapping candidates, and vote on boundaries."""

import torch
from torch import Tensor

from pipeline.heads.candidates import Candidates, tiou
from pipeline.heads.config import PostConfig

# Below every score, so that kept or removed candidates are not chosen again, even with min_score 0.
TAKEN = -1.0


def suppress(candidates: Candidates, config: PostConfig) -> Candidates:
    """Return at most `config.max_detections` candidates after suppression and voting, by descending score.

    Each step keeps the best remaining candidate and lowers the scores of those that it overlaps in its class. Scores
    never rise, so the first `max_detections` kept are the best of all. Equal scores: the lower label first, then the
    input's order; the result is the same in every run.

    Args:
        candidates: N of one video, any unit, any order.
        config: method, thresholds and limits.

    Source: Bodla et al. 2017 (arXiv 1704.04503), equations 2 to 4; voting as in ActionFormer (arXiv 2202.07925).
    """
    known = candidates.select(candidates.scores >= config.min_score)
    # Sort by class, so that lowering scores changes one slice only.
    group = known.labels if config.multiclass else torch.zeros_like(known.labels)
    order = torch.sort(group, stable=True).indices
    known, group = known.select(order), group[order]
    kept, scores = _select(known, group, config)
    segments = known.segments[kept]
    if config.voting_tiou > 0 and len(kept):
        segments = _vote(known, group, kept, config.voting_tiou)
    return Candidates(segments, known.labels[kept], scores)


def _select(known: Candidates, group: Tensor, config: PostConfig) -> tuple[Tensor, Tensor]:
    if config.nms == "none":
        ranked = torch.sort(known.scores, descending=True, stable=True).indices[: config.max_detections]
        return ranked, known.scores[ranked]
    slices = _slices(group)
    scores = known.scores.clone()
    kept: list[int] = []
    kept_scores: list[Tensor] = []
    # One iteration for each detection kept, not for each candidate.
    while len(kept) < min(len(known), config.max_detections):
        best = int(scores.argmax())
        if scores[best] < config.min_score:
            break
        kept.append(best)
        kept_scores.append(scores[best].clone())
        begin, end = slices[int(group[best])]
        overlap = tiou(known.segments[best], known.segments[begin:end])
        scores[begin:end] = _lowered(scores[begin:end], overlap, config)
        scores[best] = TAKEN
    index = torch.tensor(kept, dtype=torch.long, device=scores.device)
    return index, torch.stack(kept_scores) if kept else scores[:0]


def _slices(group: Tensor) -> dict[int, tuple[int, int]]:
    values, counts = torch.unique_consecutive(group, return_counts=True)
    ends = counts.cumsum(0).tolist()
    return {v: (e - n, e) for v, n, e in zip(values.tolist(), counts.tolist(), ends, strict=True)}


def _lowered(scores: Tensor, overlap: Tensor, config: PostConfig) -> Tensor:
    if config.nms == "hard":
        return torch.where(overlap > config.nms_tiou, TAKEN, scores)
    if config.nms == "soft":
        weight = torch.exp(-(overlap**2) / config.sigma)
    else:
        weight = torch.where(overlap > config.nms_tiou, 1 - overlap, 1.0)
    return torch.where(scores < 0, scores, scores * weight)


def _vote(known: Candidates, group: Tensor, kept: Tensor, threshold: float) -> Tensor:
    slices = _slices(group)
    voted = []
    for index in kept.tolist():
        begin, end = slices[int(group[index])]
        segments = known.segments[begin:end]
        overlap = tiou(known.segments[index], segments)
        weight = torch.where(overlap >= threshold, overlap * known.scores[begin:end], 0.0)
        total = weight.sum()
        mean = (weight[:, None] * segments).sum(dim=0) / total
        voted.append(torch.where(total > 0, mean, known.segments[index]))
    return torch.stack(voted)
