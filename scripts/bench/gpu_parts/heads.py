"""Heads: training steps a second at the sizes of THUMOS14 and ActivityNet, detection, soft-NMS and mAP."""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from gpu_parts.rows import Rows
from gpu_parts.timing import seconds_of, sibling
from pipeline.annotations.segments import Segment
from pipeline.detection.inference import detect
from pipeline.detection.nms import suppress
from pipeline.heads.candidates import Candidates
from pipeline.heads.config import PostConfig
from pipeline.heads.presets import preset
from pipeline.metrics.map import evaluate_map
from pipeline.training.batches import TrainItem, make_batch
from pipeline.training.train_head import FitResult, TrainingData, fit_head

CASES = (("thumos14", "anchor_free", 2304), ("activitynet13", "anchor_free", 240), ("activitynet13", "gtad", 240))
LABELS = tuple(f"class {number}" for number in range(20))
SEGMENTS = 12


def run(options: argparse.Namespace, rows: Rows) -> None:
    device = torch.device(options.device)
    for name, kind, length in CASES[1:2] if options.quick else CASES:
        row = f"{kind} at the size of {name}"
        try:
            result, items = _train(row, name, kind, length, options, rows)
            _detect(row, result, items, device, rows)
        except Exception as error:  # the others must still run
            rows.failed(row, error)
    _suppress(options, device, rows)
    sets = argparse.Namespace(videos=20 if options.quick else 1000, detections=200, classes=200, seed=0)
    truth, found = sibling("metrics").make_set(sets)
    began = time.perf_counter()
    evaluate_map(truth, found)
    rows.add(f"mAP of {sets.videos} videos x 200 detections, on the processor", ms=(time.perf_counter() - began) * 1e3)


def _train(
    row: str, name: str, kind: str, length: int, options: argparse.Namespace, rows: Rows
) -> tuple[FitResult, list[TrainItem]]:
    config = preset(name, kind=kind)  # type: ignore[arg-type]
    steps, channels, videos = (2, 64, 1) if options.quick else (40, 2048, 4)
    epochs = 2 if options.quick else 3
    config = replace(
        config, epochs=epochs, warmup_epochs=1, min_steps_per_epoch=steps, device=options.device, statistics_videos=4
    )
    items = make_items(videos * config.batch_size, length, channels)
    ends: list[float] = []
    result = fit_head(TrainingData(items, [], LABELS), config, on_epoch=lambda report: ends.append(time.perf_counter()))
    taken = (ends[-1] - ends[-2]) / max(steps, videos)
    limit, resized = config.head.train_limit, config.head.resize_snippets
    batch = [item.as_proposals() for item in items] if config.class_agnostic else items
    gathering = seconds_of(
        lambda: make_batch(
            batch[: config.batch_size], labels=result.labels, max_snippets=limit, resize_snippets=resized,
            rng=np.random.default_rng(0),
        ),
        torch.device("cpu"),
        budget=0.3,
    )  # fmt: skip
    rows.add(
        row, steps_a_second=1 / taken, ms_a_step=taken * 1e3, ms_to_gather=gathering * 1e3, batch=config.batch_size
    )
    return result, items


def make_items(count: int, length: int, channels: int) -> list[TrainItem]:
    """Return videos of noise with segments; all are views of one array."""
    random = np.random.default_rng(0)
    array = torch.rand((length + count, channels), generator=torch.Generator().manual_seed(0)).numpy()
    items = []
    for number in range(count):
        starts = np.sort(random.uniform(0, 0.95 * length, SEGMENTS))
        segments = [
            Segment((float(start), float(start + 0.04 * length)), LABELS[(number + place) % len(LABELS)])
            for place, start in enumerate(starts)
        ]
        items.append(
            TrainItem(
                video_id=f"v{number}",
                features=array[number : number + length],
                segments=segments,
                stride_seconds=1.0,
                window_seconds=1.0,
                duration_seconds=float(length),
            )
        )
    return items


def _detect(row: str, result: FitResult, items: list[TrainItem], device: torch.device, rows: Rows) -> None:
    for where in dict.fromkeys((device, torch.device("cpu"))):
        seconds = seconds_of(
            lambda where=where: detect(
                result.head, [items[0].load()], items[0].times, labels=result.labels, post=PostConfig(), device=where,
            ),
            where, least=2, budget=0.5, warm_up=1,
        )  # fmt: skip
        rows.add(f"{row}: detecting in one video, head on {where.type}", ms=seconds * 1e3)


def _suppress(options: argparse.Namespace, device: torch.device, rows: Rows) -> None:
    """Measure soft-NMS on each device; the product copies candidates to the processor first."""
    make = sibling("nms").make_candidates
    for count in (2000,) if options.quick else (2000, 100_000):
        here = make(count, 20, 0)
        kept: dict[str, Candidates] = {}
        for where in dict.fromkeys((torch.device("cpu"), device)):
            there = Candidates(here.segments.to(where), here.labels.to(where), here.scores.to(where))
            kept[where.type] = suppress(there, PostConfig()).on_cpu_in_double()
            seconds = seconds_of(lambda c=there: suppress(c, PostConfig()), where, least=2, budget=0.3, warm_up=1)
            same = torch.equal(kept[where.type].labels, kept["cpu"].labels)
            rows.add(f"soft-NMS of {count} candidates on {where.type}", ms=seconds * 1e3, same_as_cpu=same)
