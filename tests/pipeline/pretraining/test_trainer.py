"""The trainer of pretext tasks, with a task of tensors: rates, frozen stages, kept epoch, exact resume, torchrun."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.errors import PipelineError
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.data import shuffled_steps
from pipeline.pretraining.task import Outcome, TaskBatch
from pipeline.pretraining.trainer import EncoderTrainer
from pipeline.stages.pretrain import start_of
from sola.distributed import Team, joined_team
from tests import ROOT

CONFIG = PretrainConfig(size=32, epochs=4, batch_size=4, precision="fp32", device="cpu", warmup_epochs=2.0)


class Toy:
    """Tell bright windows from dark ones; the held-out score is given."""

    keeps_best = True
    samples, failed, about, steps_per_epoch = (8, 0), {}, {}, 2

    def __init__(self, scores: list[float], bad_step: int = -1) -> None:
        self.scores, self.bad_step, self.rates, self.moved = scores, bad_step, [], 0

    def start(self, network, encode, device):
        self.heads = nn.Linear(512, 1)

    def batches(self, epoch, team):
        for number, step in enumerate(shuffled_steps(8, batch_size=4, seed=[0, epoch], team=team)):
            bright = torch.tensor([place % 2 for place in step.places])
            rng = torch.Generator().manual_seed(100 * epoch + number)
            noise = torch.randint(0, 40, (8, 3, 32, 32, 3), generator=rng)
            pixels = (noise[list(step.places)] + 100 * bright.view(-1, 1, 1, 1, 1)).to(torch.uint8)
            scale = torch.tensor(float("nan") if epoch * 2 + number == self.bad_step else 1.0)
            yield TaskBatch(pixels, {"bright": bright.float(), "scale": scale}, step.share)

    def losses(self, encode, batch):
        logits = self.heads(encode(batch.pixels)).squeeze(1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, batch.targets["bright"])
        return {"bright": loss * batch.targets["scale"]}

    def after_step(self, network):
        self.moved += 1

    def validate(self, encode):
        return {"score": self.scores[self.moved // 2 - 1]}

    def outcome(self, encode):
        return Outcome("", {"score": 0.0})

    def state(self):
        return {"moved": self.moved}

    def load_state(self, state):
        self.moved = state["moved"]


def trainer(task: Toy, team: Team | None = None, **changes) -> EncoderTrainer:
    config = replace(CONFIG, **changes)
    kwargs = {} if team is None else {"team": team}
    return EncoderTrainer(start_of(config), task, config, identity="x", **kwargs)


def weights(one: EncoderTrainer) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in one.network.state_dict().values()])


def test_the_weights_of_the_best_epoch_are_kept():
    one = trainer(Toy([0.2, 0.9, 0.9, 0.5]))
    after = []
    for _ in range(4):
        one.train()
        after.append(weights(one))
    one.finish()
    assert one.kept_epoch == 2
    assert torch.equal(weights(one), after[1])
    assert not torch.equal(after[1], after[3])


def test_an_interrupted_training_ends_with_the_same_weights_and_the_same_kept_epoch(tmp_path):
    whole = trainer(Toy([0.2, 0.9, 0.3, 0.5]))
    first = trainer(Toy([0.2, 0.9, 0.3, 0.5]))
    for _ in range(4):
        whole.train()
    for _ in range(2):
        first.train()
    first.save(tmp_path / "checkpoint")
    task = Toy([0.2, 0.9, 0.3, 0.5])
    second = trainer(task)
    second.load(tmp_path / "checkpoint")
    assert task.moved == 4
    for _ in range(2):
        second.train()
    assert torch.equal(weights(whole), weights(second))
    assert (whole.history, whole.kept_epoch) == (second.history, second.kept_epoch)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # warm-up over 2 of 4 epochs: (epoch + 0.1) / 2.1, then half a cosine over the rest
        ({}, [0.1 / 2.1, 0.6 / 2.1, 1.1 / 2.1, 1.6 / 2.1, 1.0, 0.8535534, 0.5, 0.1464466]),
        ({"milestones": (3,), "warmup_epochs": 0.0}, [1, 1, 1, 1, 1, 1, 0.01, 0.01]),
    ],
)
def test_the_rates_of_encoder_and_heads_rise_and_fall_together(changes, expected):
    task = Toy([0.0] * 4)
    one = trainer(task, learning_rate=1e-4, head_learning_rate=2e-3, optimizer="sgd", **changes)
    seen: list[list[float]] = []
    task.after_step = lambda network: seen.append([group["lr"] for group in one._optimizer.param_groups])
    for _ in range(4):
        one.train()
    assert torch.allclose(torch.tensor(seen), torch.tensor([[1e-4 * pace, 2e-3 * pace] for pace in expected]))


def test_frozen_stages_keep_their_weights_and_statistics():
    one = trainer(Toy([0.0] * 4), frozen_stages=1)
    before = {name: value.clone() for name, value in one.network.state_dict().items()}
    one.train()
    after = one.network.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"layer1", "layer2", "layer3", "layer4"}


def test_a_loss_that_is_not_finite_stops_with_the_step():
    one = trainer(Toy([0.0] * 4, bad_step=3))
    one.train()
    with pytest.raises(PipelineError, match="not finite in epoch 2, step 2: lower --learning-rate"):
        one.train()


def test_each_sample_is_in_one_step_of_one_rank():
    teams = [Team(rank, 2) for rank in range(2)]
    plans = [shuffled_steps(11, batch_size=4, seed=[0, 1], team=team) for team in teams]
    steps = list(zip(*plans, strict=True))
    # 4, 4 and 3 samples: the last has less than two for each rank.
    assert [[len(step.places) for step in pair] for pair in steps] == [[2, 2], [2, 2]]
    assert [sum(step.share for step in pair) for pair in steps] == [1.0, 1.0]
    assert len({place for pair in steps for step in pair for place in step.places}) == 8
    with pytest.raises(PipelineError, match="batch_size must be >= 4 for 2 processes, got 3"):
        shuffled_steps(11, batch_size=3, seed=[0], team=teams[0])


def evaluated(out: Path) -> None:
    """Train two epochs as one rank of a team, with batch norm in evaluation mode: what ranks share is exact then."""
    with joined_team("cpu") as team:
        one = trainer(Toy([0.1, 0.2]), team, epochs=2, optimizer="sgd")
        one.network.train = lambda mode=True: one.network  # type: ignore[method-assign]
        for _ in range(2):
            one.train()
        if team.is_first:
            torch.save(weights(one), out)


@pytest.mark.slow
def test_two_processes_move_the_weights_as_one_does(tmp_path):
    evaluated(tmp_path / "one.pt")
    code = (
        f"from pathlib import Path; from tests.pipeline.pretraining.test_trainer import evaluated; "
        f"evaluated(Path({str(tmp_path / 'two.pt')!r}))"
    )
    (tmp_path / "rank.py").write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*command, str(tmp_path / "rank.py")], check=True, timeout=300, cwd=ROOT)
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
    assert torch.allclose(one, two, atol=1e-5)
    start = weights(trainer(Toy([])))
    assert not torch.allclose(one, start, atol=1e-5)
