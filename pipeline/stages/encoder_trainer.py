"""Training of a snippet encoder with a linear classifier, epoch by epoch, with checkpoints."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.catalog import catalog_entry
from encoders.loading import load_network
from encoders.runtime import has_fast_bf16, resolve_device
from encoders.spec import EncoderSpec
from pipeline.errors import PipelineError
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.data import CachedClip, held_out_windows, training_batches
from pipeline.storage.atomic_files import whole_file


class EncoderTrainer:
    """The network with its classifier, optimizer and history.

    Args:
        spec: of the encoder that is trained.
        labels: the classes, in the order of the classifier's outputs.
        identity: of clips and settings; a checkpoint of another identity is refused.
    """

    def __init__(self, spec: EncoderSpec, labels: Sequence[str], config: PretrainConfig, *, identity: str) -> None:
        self._spec, self._labels, self._config, self._identity = spec, labels, config, identity
        self._device = resolve_device(config.device)
        torch.manual_seed(config.seed)
        entry = catalog_entry(config.network)
        self.network, _, _ = load_network(entry, weights=config.weights, seed=config.seed)
        self.network.requires_grad_(True).to(self._device)
        self._classifier = nn.Linear(spec.feature_dim, len(labels)).to(self._device)
        parameters = [*self.network.parameters(), *self._classifier.parameters()]
        self._optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        self._mean = torch.tensor(spec.mean, device=self._device)
        self._std = torch.tensor(spec.std, device=self._device)
        self._autocast = config.precision == "bf16" or (
            config.precision == "auto" and (self._device.type == "cuda" or has_fast_bf16())
        )
        self.epoch = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []

    def train(self, clips: Sequence[CachedClip]) -> None:
        """Train one epoch; append its mean loss to the history."""
        started = time.monotonic()
        config = self._config
        self.network.train()
        threads = max(1, min(4, (os.cpu_count() or 1) - 1))
        batches = training_batches(
            clips, self._spec, batch_size=config.batch_size, seed=config.seed, epoch=self.epoch, threads=threads
        )
        a_epoch = math.ceil(len(clips) / config.batch_size)
        losses = []
        for number, (pixels, places) in enumerate(batches):
            for group in self._optimizer.param_groups:
                group["lr"] = config.learning_rate * self._pace(self.epoch + number / a_epoch)
            logits = self._logits(pixels)
            loss = F.cross_entropy(logits, places.to(self._device), label_smoothing=config.label_smoothing)
            if not torch.isfinite(loss):
                raise PipelineError(f"the loss is not finite in epoch {self.epoch + 1}: lower --learning-rate")
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
            losses.append(loss.item())
        self.epoch += 1
        self.seconds += time.monotonic() - started
        self.history.append({"loss": sum(losses) / len(losses)})

    def _pace(self, epoch: float) -> float:
        """Return the learning rate as a share of its peak: a rising line, then half a cosine to 0."""
        warm = min(self._config.warmup_epochs, self._config.epochs / 2)
        if epoch < warm:
            return (epoch + 0.1) / (warm + 0.1)
        return 0.5 * (1 + math.cos(math.pi * (epoch - warm) / max(1e-9, self._config.epochs - warm)))

    def _logits(self, pixels: Tensor) -> Tensor:
        """Return logits [B, K] of snippets uint8 [B, F, S, S, 3]."""
        values = (pixels.to(self._device).float() / 255 - self._mean) / self._std
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._autocast):
            if self._spec.layout == "frames":
                batch, frames = values.shape[:2]
                features = self.network(values.flatten(0, 1).permute(0, 3, 1, 2))
                features = features.view(batch, frames, -1).mean(dim=1)
            else:
                features = self.network(values.permute(0, 4, 1, 2, 3))
        logits: Tensor = self._classifier(features.float())
        return logits

    @torch.no_grad()
    def test(self, clips: Sequence[CachedClip]) -> tuple[float, dict[str, float]]:
        """Return the accuracy on all clips and on each class; a clip's logits are the mean over a few windows."""
        self.network.eval()
        right: dict[int, list[bool]] = {}
        for clip in clips:
            logits = self._logits(held_out_windows(clip, self._spec, count=self._config.test_windows)).mean(dim=0)
            right.setdefault(clip.place, []).append(int(logits.argmax()) == clip.place)
        all_of_them = [hit for hits in right.values() for hit in hits]
        per_class = {self._labels[place]: sum(hits) / len(hits) for place, hits in sorted(right.items())}
        return sum(all_of_them) / len(all_of_them), per_class

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        state = {
            "identity": self._identity,
            "epoch": self.epoch,
            "seconds": self.seconds,
            "history": self.history,
            "network": self.network.state_dict(),
            "classifier": self._classifier.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        with whole_file(path) as partial:
            torch.save(state, partial)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint of the same clips and settings, if there is one."""
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, OSError, ValueError, EOFError, UnpicklingError) as error:
            raise PipelineError(f"{path} cannot be read ({error}); remove it to train from the start") from None
        if state["identity"] != self._identity:
            raise PipelineError(f"{path} is of other clips or settings; remove it, or choose another --out")
        self.epoch, self.seconds, self.history = state["epoch"], state["seconds"], state["history"]
        self.network.load_state_dict(state["network"])
        self._classifier.load_state_dict(state["classifier"])
        self._optimizer.load_state_dict(state["optimizer"])
