"""Is a fit healthy: measures of collapse, and what to tell the user before, during and after it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sola.config import SolaConfig


class Curve(Protocol):
    """A point of the training curve."""

    @property
    def step(self) -> int: ...

    @property
    def gate(self) -> float: ...

    @property
    def spread(self) -> float: ...

    @property
    def rank(self) -> float: ...


def spread(z: Tensor, valid: Tensor | None = None) -> Tensor:
    """The variance of unit vectors over a batch, a scalar: 0 when all are the same, 1 when they cancel out.

    Args:
        z: unit vectors [B, S, C].
        valid: [B, S] bool, the vectors that count; all when None.
    """
    mean = z.mean(dim=(0, 1)) if valid is None else z[valid].mean(dim=0)
    return 1 - mean.square().sum()


def effective_rank(z: Tensor, valid: Tensor | None = None) -> Tensor:
    """The effective rank of the windows' cosine matrices, a scalar from 1 to S, averaged over the windows.

    Args:
        z: unit vectors [B, S, C].
        valid: [B, S] bool, the vectors that count; all when None.

    Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007: exp of the entropy of the normalised spectrum.
    """
    if valid is not None:
        z = z * valid[:, :, None]
    gram = z @ z.transpose(1, 2)
    if not bool(torch.isfinite(gram).all()):
        return gram.new_full((), float("nan"))
    values = torch.linalg.eigvalsh(gram.double()).clamp_min(0)
    share = values / values.sum(dim=1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    return torch.special.entr(share).sum(dim=1).exp().mean()


def data_warnings(lengths: np.ndarray, config: SolaConfig) -> list[str]:
    """What about the data's number and lengths makes a fit unpromising, one sentence each; empty when nothing does.

    Args:
        lengths: [V] int64, snippets of each video.
        config: the window, the batch, the budget.
    """
    warnings = []
    longest = max(config.scales) * config.step
    if lengths.max() <= longest:
        warnings.append(
            f"no video has more than {longest} snippets, so no two compared positions ever fall into one video and "
            "no interval is learned: extract with a shorter stride or lower step"
        )
    short = int((lengths < config.window_snippets).sum())
    if 2 * short > len(lengths):
        warnings.append(
            f"{short} of {len(lengths)} videos are shorter than window_snippets ({config.window_snippets}) and fill "
            "their windows in part: extract with a shorter stride, or lower window_snippets, start and size"
        )
    windows = len(lengths) * config.windows_per_video
    if windows < min(config.batch_size, 32):
        enough = -(-min(config.batch_size, 256) // len(lengths))
        warnings.append(
            f"{len(lengths)} videos give only {windows} windows an epoch, which is the whole batch: "
            f"raise windows_per_video, to {enough} for instance"
        )
    return warnings


def fit_warnings(history: Sequence[Curve], config: SolaConfig) -> list[str]:
    """What the training curve so far says against the fit, one sentence each with a suggestion; empty when nothing.

    Args:
        history: points of the training curve in order.
        config: of the fit.
    """
    if len(history) < 2:
        return []
    first, last = history[0], history[-1]
    warnings = []
    if last.spread < 0.1 * first.spread:
        warnings.append(
            f"at step {last.step} the features have collapsed towards one direction: their spread fell from "
            f"{first.spread:.3f} to {last.spread:.3f}; keep the predictor on and lower learning_rate"
        )
    # Over 1, the part of the rank that says anything.
    if last.rank - 1 < 0.1 * (first.rank - 1):
        warnings.append(
            f"at step {last.step} the snippets of a window have become alike: the rank of their self-similarity fell "
            f"from {first.rank:.2f} to {last.rank:.2f} of {config.size}; lower k or learning_rate"
        )
    if config.gate != "open" and last.step >= 500 and abs(last.gate) < 1e-3:
        warnings.append(
            f"after {last.step} steps the gate is {last.gate:.1e}, so the module still passes its input through: "
            "raise gate_learning_rate (1e-3, say), or give more steps"
        )
    return warnings
