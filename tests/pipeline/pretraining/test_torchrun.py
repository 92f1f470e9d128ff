"""Pretext tasks under torchrun: both processes end with one set of weights, also if they were interrupted."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline.pretraining.bsp_config import BspConfig
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.pal_config import PalConfig
from pipeline.pretraining.trainer import EncoderTrainer
from pipeline.pretraining.tsp_config import TspConfig
from pipeline.stages import pretrain as stage
from sola.distributed import joined_team
from tests import ROOT
from tests import videos as make
from tests.pipeline.pretraining.test_pretrain import bars
from tests.small_encoder import make_data

COMMON = PretrainConfig(
    weights="own", epochs=2, batch_size=4, precision="fp32", device="cpu", validation_share=0.4, learning_rate=1e-2
)
TASKS: dict[str, dict[str, Any]] = {
    "bsp": {"bsp": BspConfig(test_clips=8, speed_ratios=(2.0,))},
    "tsp": {"tsp": TspConfig(clips_per_row=2)},
    "pal": {"pal": PalConfig(sources=3, clips=3, clip_stride_frames=4, rounds=1, queue=16, projection_dim=8)},
}


def make_all(folder: Path) -> None:
    make_data(folder)
    for label in ("lying", "upright"):
        for group in range(4):
            path = folder / "clips" / label / f"v_{label}_g{group:02}_c01.mp4"
            make.constant(path, 60, 10, size=(48, 64), draw=bars(label == "upright"))


def train_all(folder: Path) -> None:
    """Train each task as one rank: whole, and in two parts; keep the weights that this rank ends with."""
    ends: dict[str, torch.Tensor] = {}
    kept: list[EncoderTrainer] = []
    start = EncoderTrainer.__init__

    def noted(self: EncoderTrainer, *arguments: Any, **named: Any) -> None:
        start(self, *arguments, **named)
        kept.append(self)

    EncoderTrainer.__init__ = noted  # type: ignore[method-assign]

    def interrupt(done: float, text: str) -> None:
        if text.startswith("epoch 1"):
            raise KeyboardInterrupt

    with joined_team("cpu") as team:
        for task, options in TASKS.items():
            config = replace(COMMON, task=task, encoder=f"{folder / 'own.py'}:small", **options)  # type: ignore[arg-type]
            named: dict[str, Any] = {"team": team}
            if task == "tsp":
                named["annotations"] = folder / "annotations.json"
            source = folder / ("videos" if task == "tsp" else "clips")
            stage.pretrain(source, folder / f"{task}-whole.safetensors", config, **named)
            ends[f"{task} whole"] = flat(kept[-1])
            parts = folder / f"{task}-parts.safetensors"
            try:
                stage.pretrain(source, parts, config, report=interrupt, **named)
            except KeyboardInterrupt:
                ends[f"{task} half"] = flat(kept[-1])
            stage.pretrain(source, parts, config, **named)
            ends[f"{task} parts"] = flat(kept[-1])
        torch.save(ends, folder / f"rank{team.rank}.pt")


def flat(one: EncoderTrainer) -> torch.Tensor:
    """Return the weights and statistics that a rank has kept, heads included: of the best epoch, or of the last."""
    last = {"network": one.network.state_dict(), "heads": one._task.heads.state_dict()}
    kept = one._best or last
    state = [*kept["network"].values(), *kept["heads"].values()]
    return torch.cat([value.detach().flatten().double() for value in state])


@pytest.mark.slow
def test_two_processes_end_with_equal_weights_and_go_on_after_an_interruption(tmp_path):
    make_all(tmp_path)
    code = (
        "from pathlib import Path; from tests.pipeline.pretraining.test_torchrun import train_all; "
        f"train_all(Path({str(tmp_path)!r}))"
    )
    (tmp_path / "rank.py").write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*command, str(tmp_path / "rank.py")], check=True, timeout=900, cwd=ROOT)
    one, two = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert len(one) == 3 * len(TASKS) and one.keys() == two.keys()
    for name, weights in one.items():
        assert torch.equal(weights, two[name]), name
    for task in TASKS:
        assert torch.equal(one[f"{task} whole"], one[f"{task} parts"])
        if task != "tsp":  # it may have kept the first epoch
            assert not torch.equal(one[f"{task} whole"], one[f"{task} half"])
        whole, parts = (load_file(tmp_path / f"{task}-{how}.safetensors") for how in ("whole", "parts"))
        assert all(torch.equal(value, parts[name]) for name, value in whole.items())
