"""Nothing waits for a GPU inside a training step of a head; checked without one."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.errors import PipelineError
from pipeline.heads.actionness import ActionnessHead
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.training import train_head
from pipeline.training.train_head import TrainingData, _losses, _optimize, _Run, _start, _Task, fit_head
from tests.pipeline.training.test_train_head import LABELS, tiny_items
from tests.waits import META, Waits

SOLA = ("frozen", "unified", "unified_with_loss", "auxiliary")


def config_of(kind: str, sola: str = "frozen", **options) -> TrainConfig:
    head = HeadConfig(kind=kind, embed_dim=16, levels=3, stem_blocks=1, gtad_groups=4, gtad_samples=4)
    return TrainConfig(head=head, sola=sola, batch_size=2, min_steps_per_epoch=2, epochs=1, device="cpu", **options)


def start_on_meta(config: TrainConfig, monkeypatch) -> tuple[_Run, _Task]:
    """Return a run whose networks, statistics and optimizer state are on the meta device."""
    task = _Task(TrainingData(tiny_items(), [], LABELS), config, META)
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: nullcontext())  # unknown to the meta device
    made = train_head.start_fit
    monkeypatch.setattr(train_head, "start_fit", lambda items, head, config, device: made(items, head, config, META))
    monkeypatch.setattr(train_head, "new_head", lambda *a, real=train_head.new_head, **k: real(*a, **k).to(META))
    return _start(task), task


def two_steps(config: TrainConfig, monkeypatch) -> Waits:
    run, task = start_on_meta(config, monkeypatch)
    run.head.train()
    rng = np.random.default_rng(0)
    for _ in range(2):  # the first fills caches of what is the same in every step
        with Waits() as seen:
            _optimize(run, _losses(run, task, task.data.train[:2], rng), 1e-3, config)
    return seen


@pytest.mark.parametrize("kind", ["anchor_free", "gtad", "actionness"])
def test_a_step_of_a_head_waits_for_nothing(kind, monkeypatch):
    assert two_steps(config_of(kind), monkeypatch).calls.total() == 0


@pytest.mark.parametrize("sola", SOLA[1:])
def test_a_step_with_sola_in_front_waits_for_nothing(sola, monkeypatch):
    assert two_steps(config_of("anchor_free", sola), monkeypatch).calls.total() == 0


@pytest.mark.parametrize("look", ["item", "mask", "copy"])
def test_a_wait_that_is_put_in_is_seen(look, monkeypatch):
    plain = ActionnessHead.loss

    def looking(head, outputs, targets):
        if look == "item":
            outputs.logits.sum().item()
        if look == "mask":
            outputs.logits[outputs.logits > 0].sum()
        if look == "copy":
            targets = [target.to(outputs.logits.device) for target in targets]
            return {"classification": outputs.logits.mean()}
        return plain(head, outputs, targets)

    monkeypatch.setattr(ActionnessHead, "loss", looking)
    if look == "copy":
        assert two_steps(config_of("actionness"), monkeypatch).calls["blocking copy"] == 4
    else:
        with pytest.raises((RuntimeError, NotImplementedError)):
            two_steps(config_of("actionness"), monkeypatch)


def test_a_loss_that_is_not_finite_is_named_with_its_step(monkeypatch):
    plain = ActionnessHead.loss
    seen: list[int] = []

    def failing(head, outputs, targets):
        seen.append(1)
        losses = plain(head, outputs, targets)
        return {name: value * (float("nan") if len(seen) == 2 else 1) for name, value in losses.items()}

    monkeypatch.setattr(ActionnessHead, "loss", failing)
    config = replace(config_of("actionness"), min_steps_per_epoch=4)
    with pytest.raises(PipelineError, match=r"the loss became nan at step 1; lower learning_rate"):
        fit_head(TrainingData(tiny_items(), [], LABELS), config)
