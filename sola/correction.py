"""Measure what a module adds to the features: how much is constant, how much a linear filter gives, what collapses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sola.module import SolaModule
from sola.sampling import FeatureSource, PrefetchingSource

# The sample: a stretch of each of some videos. Enough for the fit of a filter of 5 taps and 256 channels.
MOST_VIDEOS, MOST_ROWS, LEAST_ROWS = 256, 8192, 32
# The filter's unknowns grow with taps times channels, and the time with their cube.
MOST_FILTER_CHANNELS, MOST_FILTER_INPUTS = 256, 1536
# The side of the largest matrix whose eigenvalues are computed; 1024 take a second.
MOST_EIGENVALUES = 1024
_RIDGES = (1e-5, 1e-3, 1e-1, 10.0)  # in units of the inputs' mean variance


@dataclass(frozen=True, kw_only=True)
class Correction:
    """Measures of a module's correction on a sample of snippets whose whole receptive field lies in the video.

    `correction_ratio` is the length of the corrections relative to that of the inputs (root mean squares).
    `constant_share` is the share of their energy that is one constant vector: |mean c|² / mean |c|². `rank_before` and
    `rank_after` are the effective ranks of the features, see `effective_dimensions`. `linear_r2` is the share of the
    corrections' variance that a linear filter of the module's width explains on other videos, see `linear_filter_r2`;
    None if there are too few videos, or if the correction is constant.
    """

    correction_ratio: float
    constant_share: float
    rank_before: float
    rank_after: float
    linear_r2: float | None


def measure_correction(
    source: FeatureSource, lengths: np.ndarray, module: SolaModule, *, seed: int
) -> Correction | None:
    """Return the measures of a module's correction; None if no video is as long as the module's receptive field.

    Args:
        source: feature sequences.
        lengths: [V] int64, their snippets.
        module: computes on its own device.
        seed: of the sample.
    """
    radius = module.receptive_radius
    random = np.random.default_rng([seed, 0])
    inputs = draw_stretches(source, lengths, radius, random)
    if not inputs:
        return None
    corrections = [_correction(module, rows) for rows in inputs]
    x = torch.cat([rows[radius : len(rows) - radius] for rows in inputs])
    c = torch.cat(corrections)
    energy = float(c.double().square().sum(dim=1).mean())
    mean = c.double().mean(dim=0)
    return Correction(
        correction_ratio=(energy / max(float(x.double().square().sum(dim=1).mean()), 1e-300)) ** 0.5,
        constant_share=float(mean.square().sum()) / energy if energy > 0 else 0.0,
        rank_before=effective_dimensions(x),
        rank_after=effective_dimensions(x + c),
        linear_r2=linear_filter_r2(inputs, corrections, radius, random),
    )


def draw_stretches(
    source: FeatureSource, lengths: np.ndarray, radius: int, random: np.random.Generator
) -> list[Tensor]:
    """Return consecutive rows [n + 2 * radius, C] of each of some videos, in random order, float32.

    Args:
        source: feature sequences.
        lengths: [V] int64, their snippets; shorter ones than 2 * radius + 1 are left out.
        radius: rows beside the n that count.
        random: of the choice.
    """
    videos = random.permutation(np.flatnonzero(lengths > 2 * radius))[:MOST_VIDEOS]
    if len(videos) == 0:
        return []
    counts = np.minimum(max(LEAST_ROWS, MOST_ROWS // len(videos)), lengths[videos] - 2 * radius) + 2 * radius
    starts = np.floor(random.random(len(videos)) * (lengths[videos] - counts + 1)).astype(np.int64)
    wanted = [(int(v), int(start), int(start + n)) for v, start, n in zip(videos, starts, counts, strict=True)]
    if isinstance(source, PrefetchingSource):
        source.prefetch(wanted)
    return [torch.from_numpy(np.array(source.rows(*window), dtype=np.float32)) for window in wanted]


def _correction(module: SolaModule, rows: Tensor) -> Tensor:
    """Return the module's correction [n, C] to the rows [n + 2 * radius, C] that are not at an end."""
    radius = module.receptive_radius
    with torch.inference_mode():
        hidden = module.conv_network(rows.to(module.alpha.device, module.alpha.dtype).T[None])[0].T
        return (module.gate() * hidden)[radius : len(rows) - radius].float().cpu()


def effective_dimensions(rows: Tensor) -> float:
    """Return the effective rank of features, from 1 to C: exp of the entropy of their covariance's eigenvalues.

    It is C if all directions vary alike, and 1 if features vary along one direction only.

    Args:
        rows: [N, C]; of more than 1,024 channels, 1,024 evenly spaced rows are used.

    Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007, with eigenvalues in place of singular values.
    """
    if min(rows.shape) > MOST_EIGENVALUES:
        rows = rows[torch.linspace(0, len(rows) - 1, MOST_EIGENVALUES).long()]
    centered = rows.double() - rows.double().mean(dim=0)
    # Both products have the same eigenvalues, except for zeros.
    gram = centered @ centered.T if len(rows) < rows.shape[1] else centered.T @ centered
    values = torch.linalg.eigvalsh(gram).clamp_min(0)
    share = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return float(torch.special.entr(share).sum().exp())


def linear_filter_r2(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], radius: int, random: np.random.Generator
) -> float | None:
    """Return the share of the outputs' variance that the least-squares linear filter explains on other videos.

    The filter has full matrices for its 2 * radius + 1 taps and a constant. It is fitted on half of the videos, its
    ridge chosen on a quarter, and R² = 1 - |y - ŷ|² / |y - mean(y)|² computed on the last quarter. Of more than 256
    channels, 256 random projections are used on both sides; of wide filters fewer, so that inputs times taps stay below
    1,536. So the result is a lower bound.

    Args:
        inputs: of each video [n + 2 * radius, C].
        outputs: [n, C].
        radius: taps on each side.
        random: of the projections.

    Returns:
        1 for a linear filter, 0 or less for outputs that the filter cannot predict; None with fewer than 4 videos, or
        if the outputs of the last quarter do not vary.
    """
    if len(inputs) < 4:
        return None
    taps, channels = 2 * radius + 1, inputs[0].shape[1]
    most = max(1, min(MOST_FILTER_CHANNELS, MOST_FILTER_INPUTS // taps))
    project = torch.eye(channels, dtype=torch.float32)
    if channels > most:
        project = torch.from_numpy(np.linalg.qr(random.normal(size=(channels, most)))[0]).float()
    parts: list[tuple[Tensor, Tensor]] = []
    for chosen in (lambda k: k % 4 > 1, lambda k: k % 4 == 1, lambda k: k % 4 == 0):  # fit, choose, test
        videos = [(x @ project, y @ project) for k, (x, y) in enumerate(zip(inputs, outputs, strict=True)) if chosen(k)]
        x = torch.cat([x.unfold(0, taps, 1).flatten(1) for x, _ in videos]).double()
        parts.append((x, torch.cat([y for _, y in videos]).double()))
    (x, y), (x_choice, y_choice), (x_test, y_test) = parts
    spread = (y_test - y_test.mean(dim=0)).square().sum()
    if float(spread) <= 1e-12 * float(y_test.square().sum()):
        return None
    x_mean, y_mean = x.mean(dim=0), y.mean(dim=0)
    gram, product = (x - x_mean).T @ (x - x_mean), (x - x_mean).T @ (y - y_mean)

    def error(weights: Tensor, at: Tensor, wanted: Tensor) -> float:
        return float((wanted - y_mean - (at - x_mean) @ weights).square().sum())

    ridges = [ridge * float(gram.diagonal().mean()) + 1e-300 for ridge in _RIDGES]
    eye = torch.eye(len(gram), dtype=gram.dtype)
    filters = [torch.linalg.solve(gram + ridge * eye, product) for ridge in ridges]
    best = min(filters, key=lambda weights: error(weights, x_choice, y_choice))
    return 1 - error(best, x_test, y_test) / float(spread)
