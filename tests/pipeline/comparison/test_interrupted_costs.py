"""A training that is interrupted counts each operation once, and the time of all its parts."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.comparison.counted_stages import CountedStages
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.trainer import EncoderTrainer
from pipeline.pretraining.tsp_config import TspConfig
from pipeline.stages.pretrain import pretrain
from pipeline.stages.train_checkpoint import Checkpoint
from pipeline.stages.train_end_to_end import train_end_to_end
from pipeline.training import end_to_end
from tests.small_encoder import TINY, make_data, request

# Linear 3 → 5 on 7 rows: a multiplication and an addition for each of rows * inputs * outputs.
ONE = 2 * 7 * 3 * 5


class Killed(Exception):
    """The process ends without time to save anything."""


def cost_of(folder: Path, work: Callable[[CountedStages], object], given: str = "a"):
    """Do a stage, over and over until it is not killed any more, and return its cost."""
    while True:
        stages = CountedStages(folder, lambda line: None)
        try:
            stages.do("work", [given], lambda: str(work(stages)), result=folder / "costs.json")  # noqa: B023
        except (Killed, KeyboardInterrupt):
            continue
        return CountedStages(folder, lambda line: None).costs()["work"]


@pytest.mark.parametrize("kills", [(), (1,), (2, 3), (4, 6, 9)])
def test_steps_after_the_last_checkpoint_are_done_again_and_count_once(tmp_path, kills):
    layer, rows = nn.Linear(3, 5), torch.ones(7, 3)
    checkpoint, left, started = Checkpoint(tmp_path / "checkpoint", "x"), list(kills), []

    def work(stages: CountedStages) -> str:
        started.append(time.perf_counter())
        layer(rows)  # what every part does before it looks for a checkpoint
        done = (checkpoint.load() or {"done": 0})["done"]
        while done < 8:
            if left and sum(taken) == left[0]:
                left.pop(0)
                taken.append(0)
                raise Killed
            with torch.no_grad():
                layer(rows)
            taken.append(1)
            done += 1
            time.sleep(0.01)
            stages.kept(lambda share, text: None)(done / 8, "")
            if done % 3 == 0:
                checkpoint.save({"done": done})
        return "done"

    taken: list[int] = []
    cost = cost_of(tmp_path, work)
    assert len(started) == 1 + len(kills)
    assert cost.operations == (1 + 8) * ONE
    assert 0.01 * sum(taken) <= cost.seconds < time.perf_counter() - started[0]
    again = CountedStages(tmp_path, lambda line: None)
    again.do("work", ["a"], lambda: "", result=tmp_path / "costs.json")
    assert not again.worked and again.costs()["work"] == cost
    other = cost_of(tmp_path, lambda stages: "", "b")  # other settings: a new cost
    assert other.operations == 0 and other.seconds < cost.seconds


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_data(tmp_path_factory.mktemp("costs"))


@pytest.mark.parametrize("stop_at", [1, 3])
def test_pretraining_counts_its_global_features_and_each_epoch_once(data, tmp_path, monkeypatch, stop_at):
    config = PretrainConfig(
        task="tsp", encoder=f"{data / 'own.py'}:small", weights="own", epochs=2, batch_size=8, precision="fp32",
        device="cpu", tsp=TspConfig(clips_per_row=2),
    )  # fmt: skip
    step, steps = EncoderTrainer._step, []

    def stopping(self, loss, number):
        steps.append(number)
        if len(steps) == stop_at:
            raise Killed
        step(self, loss, number)

    def work(name: str) -> Callable[[CountedStages], object]:
        annotations, out = data / "annotations.json", tmp_path / name / "weights.safetensors"
        return lambda stages: pretrain(data / "videos", out, config, annotations=annotations).text()

    whole = cost_of(tmp_path / "whole", work("whole"))
    monkeypatch.setattr(EncoderTrainer, "_step", stopping)
    parts = cost_of(tmp_path / "parts", work("parts"))
    assert len(steps) > stop_at
    assert (parts.operations, parts.parameters) == (whole.operations, whole.parameters)


@pytest.mark.parametrize("how", [Killed, KeyboardInterrupt])
def test_end_to_end_training_counts_each_step_once(data, tmp_path, monkeypatch, how):
    step, steps = end_to_end.take_step, []

    def stopping(*arguments):
        steps.append(0)
        if len(steps) == 5 and how is Killed:
            raise Killed
        report = step(*arguments)
        if len(steps) == 5:
            raise KeyboardInterrupt  # between two steps: a checkpoint is written
        return report

    def work(name: str) -> Callable[[CountedStages], object]:
        wanted = request(data, tmp_path / name / "model", replace(TINY, epochs=2), encoder_learning_rate=1e-3)
        return lambda stages: train_end_to_end(wanted, report=stages.kept(lambda done, text: None)).text()

    whole = cost_of(tmp_path / "whole", work("whole"))
    monkeypatch.setattr(end_to_end, "take_step", stopping)
    parts = cost_of(tmp_path / "parts", work("parts"))
    # Of 6 steps in two epochs, killed in the fifth: the fourth and the fifth are done again.
    assert len(steps) == (8 if how is Killed else 6)
    assert (parts.operations, parts.parameters) == (whole.operations, whole.parameters)
