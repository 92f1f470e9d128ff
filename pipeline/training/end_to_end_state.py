"""Everything that changes while an encoder and a head are trained, and its exact copy in a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pipeline.training.trained_encoder import EncoderWithHead
from pipeline.training.weights import copy_to_cpu


class Run:
    """The networks, their moving average, the optimizer, the place in the training and the random generators.

    `step` counts all steps, `done` those of the present epoch; `epoch` counts finished epochs.
    """

    def __init__(self, network: EncoderWithHead, optimizer: torch.optim.Optimizer) -> None:
        self.network, self.optimizer = network, optimizer
        self.average = copy.deepcopy(network).requires_grad_(False)
        # In the order of the parameters; those that do not learn are left out.
        self.initial = [p.detach().clone() for p in network.encoder.parameters() if p.requires_grad]
        self.step, self.epoch, self.done = 0, 0, 0
        self.best: dict[str, Any] = {"epoch": 0, "map": None, "network": {}}
        self.losses: list[dict[str, float]] = []
        self.validation_maps: list[list[float]] = []
        self.history: list[dict[str, float]] = []
        self.of_epoch: list[dict[str, float]] = []
        self.rng = np.random.default_rng(0)
        self.is_consistent = True  # whether the state may be saved: not in the middle of a step
        self._random: dict[str, Any] | None = None

    @property
    def device(self) -> torch.device:
        return next(self.network.head.parameters()).device

    def state(self) -> dict[str, Any]:
        """Return tensors and plain values, loadable with weights_only=True; to be taken between two steps."""
        random: dict[str, Any] = {"numpy": self.rng.bit_generator.state, "torch": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        return {
            "network": copy_to_cpu(self.network),
            "average": copy_to_cpu(self.average),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "random": random,
            "best": dict(self.best),
            **{name: copy.deepcopy(getattr(self, name)) for name in _PLAIN},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.best, self._random = dict(state["best"]), state["random"]
        for name in _PLAIN:
            setattr(self, name, copy.deepcopy(state[name]))

    def end_epoch(self) -> None:
        """Note the means over the steps of the epoch, and go on to the next."""
        means = {name: float(np.mean([step[name] for step in self.of_epoch])) for name in self.of_epoch[0]}
        share = means.pop("gradient_share")
        self.losses.append(means)
        self.history.append({"gradient_share": share, "change": self.encoder_change()})
        self.epoch, self.done, self.of_epoch = self.epoch + 1, 0, []

    def restore_random(self) -> None:
        """Put the random generators where they were in the middle of an epoch, once after `load`."""
        random, self._random = self._random, None
        if random is None or self.done == 0:
            return
        self.rng.bit_generator.state = random["numpy"]
        torch.set_rng_state(random["torch"])
        if "cuda" in random and self.device.type == "cuda":
            torch.cuda.set_rng_state(random["cuda"], self.device)

    @torch.no_grad()
    def encoder_change(self) -> float:
        """Return the norm of the change of the encoder's weights since the start, as a share of their norm."""
        now = [p for p in self.network.encoder.parameters() if p.requires_grad]
        changes = torch.stack([(p - old).norm() for p, old in zip(now, self.initial, strict=True)])
        return float(changes.norm() / torch.stack([old.norm() for old in self.initial]).norm())


_PLAIN = ("step", "epoch", "done", "losses", "validation_maps", "history", "of_epoch")
