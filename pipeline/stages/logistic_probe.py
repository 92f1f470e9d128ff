"""A logistic regression for the linear evaluation that has converged, with the L2 penalty chosen on training videos.

The published evaluation stops after some epochs of SGD at a fixed rate, so scale and spread of the features decide how
far it gets. This one shows what a linear classifier can do at all.
"""

from __future__ import annotations

import numpy as np

from pipeline.errors import PipelineError

# Inverse penalties (scikit-learn's C) for rows of unit length.
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
_MOST_ITERATIONS = 2000


def learn_logistic(
    rows: np.ndarray, foreground: np.ndarray, videos: np.ndarray, weights: np.ndarray, seed: int
) -> tuple[np.ndarray, float]:
    """Return weight [C] and bias of foreground against background, a `sola.evaluation.Learn`.

    A quarter of the training videos, drawn by the seed, chooses the penalty by its log loss; then all are used.

    Args:
        rows: [N, C] of unit length.
        foreground: [N] bool.
        videos: [N] int, the video of each row.
        weights: [N], of each row.
        seed: of the choice.

    Raises:
        PipelineError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise PipelineError(
            "--logistic needs scikit-learn, which is not installed: pip install 'sola-pipeline[probe]'"
        ) from None

    def fitted(penalty: float, chosen: np.ndarray) -> tuple[np.ndarray, float]:
        model = LogisticRegression(C=penalty, max_iter=_MOST_ITERATIONS, tol=1e-5)
        model.fit(rows[chosen], foreground[chosen], sample_weight=weights[chosen])
        return model.coef_[0], float(model.intercept_[0])

    held = _held_out(foreground, videos, seed)
    best = 1.0
    if held is not None:
        losses = []
        for penalty in PENALTIES:
            weight, bias = fitted(penalty, ~held)
            margin = np.where(foreground[held], 1, -1) * (rows[held] @ weight + bias)
            losses.append(float(np.average(np.logaddexp(0, -margin), weights=weights[held])))
        best = PENALTIES[int(np.argmin(losses))]
    return fitted(best, np.ones(len(rows), dtype=bool))


def _held_out(foreground: np.ndarray, videos: np.ndarray, seed: int) -> np.ndarray | None:
    """Return which rows are of the videos that choose, [N] bool; None if the others would lack a class."""
    numbers = np.random.default_rng(seed).permutation(np.unique(videos))
    held = np.isin(videos, numbers[: max(1, len(numbers) // 4)])
    rest = foreground[~held]
    return held if len(rest) and rest.any() and not rest.all() else None
