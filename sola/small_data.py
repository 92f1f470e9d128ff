"""Settings for small data sets, and when not to fit at all."""

from dataclasses import replace
from typing import Any

import numpy as np

from sola.config import SolaConfig
from sola.sampling import steps_in_epoch

# 150 epochs of HACS are about 22,000 steps; with few videos they are a hundred, after which nothing is learned yet.
LEAST_STEPS = 1000
LEAST_WINDOWS = 64  # in a step
# At the published rate, 1e-4, a thousand steps end at the loss of a constant prediction.
RATE = 1e-3
# Different windows, counted without overlap, under which a fit learns these windows and no more.
TOO_FEW_WINDOWS = 8


def skip_reason(lengths: np.ndarray, config: SolaConfig) -> str:
    """Return why SoLa should not be fitted on such data, one sentence; empty if nothing speaks against it.

    Args:
        lengths: [V] int64, snippets of each video.
        config: the window and the compared positions.
    """
    longest = config.position_stride
    if lengths.max() <= longest:
        return (
            f"skip SoLa here: no video has more than {longest} snippets, so no two compared positions ever fall into "
            "one video (or extract with a shorter stride)"
        )
    windows = int(lengths.sum()) // config.window_snippets
    if windows < TOO_FEW_WINDOWS:
        return (
            f"skip SoLa here: {int(lengths.sum())} snippets in all hold {windows} windows of {config.window_snippets}, "
            "too few to learn anything about other videos"
        )
    return ""


def adapted(config: SolaConfig, lengths: np.ndarray) -> tuple[SolaConfig, str]:
    """Return settings that suit a small data set, and one sentence on what was changed; empty if nothing was.

    Data are small if the configured epochs give less than 1,000 optimizer steps. Options that differ from their
    defaults stay, and with `steps` or `epochs` given nothing is adapted.

    Args:
        config: as the user gave it.
        lengths: [V] int64, snippets of each video.
    """
    default, videos = SolaConfig(), len(lengths)
    budget = config.epochs * steps_in_epoch(videos, config)
    kept = replace(config, adapt=False)
    if not config.adapt or config.steps is not None or config.epochs != default.epochs or budget >= LEAST_STEPS:
        return kept, ""
    changes: dict[str, Any] = {"steps": LEAST_STEPS}
    if config.learning_rate == default.learning_rate:
        changes["learning_rate"] = RATE
    places = int(np.maximum(lengths - config.window_snippets + 1, 1).sum())
    windows = min(-(-LEAST_WINDOWS // videos), max(1, places // videos))
    if config.windows_per_video == default.windows_per_video and windows > config.windows_per_video:
        changes["windows_per_video"] = windows
    said = ", ".join(f"{name}={value:g}" for name, value in changes.items())
    return replace(kept, **changes), (
        f"{videos} {'video gives' if videos == 1 else 'videos give'} {budget} steps in {config.epochs} epochs, "
        f"too few: {said} instead (--no-adapt keeps the published settings)"
    )
