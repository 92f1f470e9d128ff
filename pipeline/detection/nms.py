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
    slices = list(_slices(group).values())
    scores = known.scores.clone()
    least = float(scores.new_tensor(config.min_score))  # in the precision of the scores, as candidates are selected
    # The best of each class: a step changes one class, so only there the best is looked for again.
    best_of = [_best(scores, *bounds) for bounds in slices]
    kept: list[tuple[int, float]] = []
    # One iteration for each detection kept, not for each candidate.
    while best_of and len(kept) < config.max_detections:
        number = max(range(len(best_of)), key=lambda n: best_of[n][1])
        best, score = best_of[number]
        if score < least:
            break
        kept.append((best, score))
        begin, end = slices[number]
        overlap = tiou(known.segments[best], known.segments[begin:end])
        scores[begin:end] = _lowered(scores[begin:end], overlap, config)
        scores[best] = TAKEN
        best_of[number] = _best(scores, begin, end)
    index = torch.tensor([best for best, _ in kept], dtype=torch.long, device=scores.device)
    return index, scores.new_tensor([score for _, score in kept])


def _best(scores: Tensor, begin: int, end: int) -> tuple[int, float]:
    """Return the place and the score of the first of the best in a slice."""
    place = begin + int(scores[begin:end].argmax())
    return place, float(scores[place])


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
