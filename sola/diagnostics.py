"""Measures of collapse, and warnings for the user before, during and after a fit."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sola.config import SolaConfig
from sola.device import chosen_rows, sent
from sola.distributed import Total, no_reduction

# Share of the possible gain over a constant prediction; less than this is a plateau, not progress.
CLEAR_GAIN = 0.05
_FLAT = 5e-4  # for a spread from 0 to 1, and for the part of a rank above 1


class Curve(Protocol):
    """A point of the training curve."""

    @property
    def step(self) -> int: ...

    @property
    def loss(self) -> float: ...

    @property
    def gate(self) -> float: ...

    @property
    def spread(self) -> float: ...

    @property
    def rank(self) -> float: ...

    @property
    def constant_loss(self) -> float: ...

    @property
    def least_loss(self) -> float: ...


def spread(z: Tensor, valid: Tensor | None = None, *, total: Total = no_reduction) -> Tensor:
    """Return the variance of unit vectors over a batch, a scalar: 0 if all are the same, 1 if they cancel out.

    Args:
        z: unit vectors [B, S, C].
        valid: [B, S] bool, the vectors that count; all if None.
        total: sums over the processes that share the batch (all-reduce).
    """
    vectors = z.flatten(0, 1) if valid is None else chosen_rows(z, valid)
    sums = total(torch.cat([vectors.sum(dim=0), vectors.new_full((1,), len(vectors))]))
    return 1 - (sums[:-1] / sums[-1]).square().sum()


def effective_rank(z: Tensor, valid: Tensor | None = None, *, total: Total = no_reduction) -> Tensor:
    """Return the effective rank of the windows' cosine matrices, a scalar from 1 to S, averaged over the windows.

    Args:
        z: unit vectors [B, S, C].
        valid: [B, S] bool, the vectors that count; all if None.
        total: sums over the processes that share the batch (all-reduce).

    On a GPU it waits for the eigenvalues.

    Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007: exp of the entropy of the normalized spectrum.
    """
    if valid is not None:
        z = z * sent(valid, z.device)[:, :, None]
    gram = z @ z.transpose(1, 2)
    finite = torch.isfinite(gram).all()
    values = torch.linalg.eigvalsh(gram.double().nan_to_num(0, 0, 0)).clamp_min(0)
    share = values / values.sum(dim=1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    ranks = torch.where(finite, torch.special.entr(share).sum(dim=1).exp().sum(), float("nan"))
    whole, windows = total(torch.stack([ranks, ranks.new_full((), len(z))]))
    return whole / windows


def data_warnings(lengths: np.ndarray, config: SolaConfig) -> list[str]:
    """Return warnings about the number and lengths of the videos, one sentence each; empty if there are none.

    Args:
        lengths: [V] int64, snippets of each video.
        config: the window, the batch, the budget.
    """
    warnings = []
    short = int((lengths < config.window_snippets).sum())
    if 2 * short > len(lengths):
        warnings.append(
            f"{short} of {_counted(len(lengths), 'video')} {'is' if len(lengths) == 1 else 'are'} shorter than "
            f"window_snippets ({config.window_snippets}), so that windows are filled in part: extract with a shorter "
            "stride, or lower window_snippets, first_position and tsm_size"
        )
    windows = len(lengths) * config.windows_per_video
    if windows < min(config.batch_size, 32):
        warnings.append(
            f"only {_counted(windows, 'window')} an epoch from {_counted(len(lengths), 'video')}, the whole batch: "
            "raise windows_per_video, or add videos"
        )
    return warnings


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _either(ways: Sequence[str]) -> str:
    """`a`, `a, or b`, `a, b, or c`."""
    return ", or ".join([", ".join(ways[:-1]), ways[-1]] if len(ways) > 1 else ways)


def fit_warnings(history: Sequence[Curve], config: SolaConfig) -> list[str]:
    """Return warnings about the training curve so far, one sentence with a suggestion each; empty if there are none.

    Args:
        history: points of the training curve in order.
        config: settings of the fit.
    """
    if len(history) < 2:
        return []
    collapse = _collapse(history[0], history[-1], config)
    # One cause, one warning: after a collapse the loss is also that of a constant prediction, and a closed gate is
    # one of the reasons for such a loss.
    return _no_variation(history[0]) or collapse or _plateau(history, config) or _stuck_gate(history[-1])


def _no_variation(first: Curve) -> list[str]:
    """Warn about features that are flat from the first step on: they cannot collapse, and nothing can be learned."""
    if first.spread >= _FLAT and first.rank - 1 >= _FLAT:
        return []
    which = "all features" if first.spread < _FLAT else "the features of a window"
    return [
        f"{which} point in one direction from the first step on, so nothing can be learned about time: the encoder "
        "sees no difference between the snippets; check the videos and the encoder's weights"
    ]


def _collapse(first: Curve, last: Curve, config: SolaConfig) -> list[str]:
    center = ["set normalize=center"] if config.normalize == "none" else []
    if last.spread < 0.1 * first.spread:
        return [
            f"at step {last.step} the features have collapsed towards one direction: their spread fell from "
            f"{first.spread:.3f} to {max(0.0, last.spread):.3f}; "
            f"{_either([*center, *([] if config.predictor else ['turn the predictor on']), 'lower learning_rate'])}"
        ]
    # Only the part of the rank above 1 says anything.
    if last.rank - 1 < 0.1 * (first.rank - 1):
        return [
            f"at step {last.step} the snippets of a window have become alike: the rank of their self-similarity fell "
            f"from {first.rank:.2f} to {last.rank:.2f} of {config.tsm_size}; "
            f"{_either([*center, 'lower k', 'lower learning_rate'])}"
        ]
    return []


def gain(history: Sequence[Curve]) -> float | None:
    """Return how far the loss came from that of the best constant prediction (0) to that of the target itself (1).

    None if the curve is empty, or if the target does not vary because no two positions are ever compared.
    """
    if not history:
        return None
    loss, constant, least = _losses(history)
    return None if constant - least < 1e-6 else (constant - loss) / (constant - least)


def at_end(values: Sequence[float]) -> float:
    """Return the mean over the last tenth of a curve, since single batches vary more than the effect in question."""
    return float(np.mean(values[-max(1, len(values) // 10) :]))


def _losses(history: Sequence[Curve]) -> tuple[float, float, float]:
    """Return three losses at the end of the curve: the fit's, the best constant prediction's, the target's own."""
    return (
        at_end([point.loss for point in history]),
        at_end([point.constant_loss for point in history]),
        at_end([point.least_loss for point in history]),
    )


def _plateau(history: Sequence[Curve], config: SolaConfig) -> list[str]:
    share = gain(history)
    if share is None or share >= CLEAR_GAIN:  # None: `data_warnings` reports a target that does not vary
        return []
    loss, constant, least = _losses(history)
    gate = history[-1].gate
    remedies = ["set normalize=center"] if config.normalize == "none" else []
    remedies += ["raise learning_rate (1e-3, say)"] if config.learning_rate < 1e-3 else []
    remedies += ["raise gate_learning_rate (1e-2, say)"] if abs(gate) < 1e-3 else []
    return [
        f"at step {history[-1].step} the loss is {loss:.4f}, not clearly below the {constant:.4f} of predicting the "
        f"same similarity for every interval (the target itself has {least:.4f}), and the gate is "
        f"{gate:.1e}: next to nothing has been learned about time; {_either([*remedies, 'give more steps'])}"
    ]


def _stuck_gate(last: Curve) -> list[str]:
    if last.step < 500 or abs(last.gate) >= 1e-3:
        return []
    return [
        f"after {_counted(last.step, 'step')} the gate is {last.gate:.1e}, so the module still passes its input "
        "through: raise gate_learning_rate (1e-3, say), or give more steps"
    ]
