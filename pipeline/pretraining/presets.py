"""Published settings of pretext tasks by name, for `pretrain --preset`.

Source: TSP (Alwassel et al. 2021), section 4, and the README of its reference implementation, for one process with
batches of 32 clips. It multiplies the rates by the number of processes; the rates of other released weights differ.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pipeline.errors import PipelineError

PretrainPreset = Literal["tsp-activitynet", "tsp-thumos14"]

_TSP: dict[str, Any] = {
    "task": "tsp",
    "encoder": "r2plus1d_34",
    "weights": "kinetics400",
    "size": 112,
    "epochs": 8,
    "batch_size": 32,
    "optimizer": "sgd",
    "learning_rate": 1e-4,
    "weight_decay": 0.005,
    "warmup_epochs": 2.0,
    "milestones": (4, 6),
    "frozen_stages": 1,
}
_PRESETS: dict[str, dict[str, Any]] = {
    "tsp-activitynet": {**_TSP, "head_learning_rate": 2e-3, "tsp": {"min_gap_clips": 5.0}},
    "tsp-thumos14": {**_TSP, "head_learning_rate": 4e-3, "tsp": {"min_gap_clips": 1.0}},
}


def pretrain_preset(name: str) -> dict[str, Any]:
    """Return the options of `pretrain` that a preset sets; those of a group in a mapping of its own.

    Raises:
        PipelineError: no preset has that name.
    """
    if name not in _PRESETS:
        raise PipelineError(f"preset must be one of {', '.join(get_args(PretrainPreset))}, got {name!r}")
    return dict(_PRESETS[name])
