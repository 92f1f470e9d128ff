"""Pretext tasks: one optimizer step at published size, R(2+1)D-34 on 32 clips of 16 frames at 112 pixels."""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from gpu_parts.rows import Rows
from gpu_parts.timing import peak_gigabytes, reset_peak, synchronize
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.task import Request, TaskBatch
from pipeline.pretraining.tasks import plan_task
from pipeline.pretraining.trainer import EncoderTrainer
from pipeline.progress import silent
from pipeline.stages.pretrain import start_of
from pipeline.synthetic import SyntheticSettings, make_synthetic_dataset
from sola.distributed import Team

STEPS = 3  # of a timed epoch, after one that warms up


class OneBatch:
    """A task whose epochs are one batch, again and again, without a test on held-out data."""

    def __init__(self, task: Any) -> None:
        self._task = task
        self.batch: TaskBatch | None = None
        self.steps_per_epoch = STEPS

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def batches(self, epoch: int, team: Team) -> Iterator[TaskBatch]:
        if self.batch is None:  # decoding and rendering are no part of the step
            self.batch = next(iter(self._task.batches(epoch, team)))
        for _ in range(STEPS):
            yield self.batch

    def validate(self, encode: Any) -> dict[str, float]:
        return {}


def run(options: argparse.Namespace, rows: Rows, name: str) -> None:
    device = torch.device(options.device)
    config = settings(name, quick=options.quick, device=options.device)
    with tempfile.TemporaryDirectory() as folder:
        videos = Path(folder) / "videos"
        annotations = make_synthetic_dataset(
            videos, SyntheticSettings(videos=16, seconds=8.0, height=128, width=176, fps="15")
        )
        start = start_of(config)
        labels = None if name == "pal" else annotations
        task = OneBatch(plan_task(Request(videos, labels, start.spec, config)).prepare(Path(folder) / "frames", silent))
        trainer = EncoderTrainer(start, task, config, identity="")  # type: ignore[arg-type]
        trainer.train()
        synchronize(device)
        reset_peak(device)
        began = time.perf_counter()
        trainer.train()
        synchronize(device)
        seconds = (time.perf_counter() - began) / STEPS
    assert task.batch is not None
    clips = len(task.batch.pixels)
    rows.add(
        f"{name}, {config.encoder}, {clips} clips at {config.size} px",
        clips_a_second=clips / seconds,
        ms_a_step=seconds * 1e3,
        gigabytes=peak_gigabytes(device),
        gigabytes_of_clips=task.batch.pixels.numel() / 1e9,
    )


def settings(name: str, *, quick: bool, device: str) -> PretrainConfig:
    """Return the settings of a step with 32 clips, or of a small network with fewer clips."""
    of_task: dict[str, Any] = {}
    if name == "pal":  # a step has 2 * sources * clips windows
        from pipeline.pretraining.pal_config import PalConfig

        of_task["pal"] = PalConfig(sources=3 if quick else 4, clips=3 if quick else 4)
    return PretrainConfig(
        task=name,  # type: ignore[arg-type]
        encoder="tsn_r18" if quick else "r2plus1d_34",
        size=32 if quick else 112,
        batch_size=8 if quick else 32,
        epochs=2,
        frozen_stages=1 if name == "tsp" else 0,
        device=device,
        **of_task,
    )
