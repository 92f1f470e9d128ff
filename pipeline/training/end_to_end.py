"""Train an encoder and a head together, from the frames of videos, by the head's loss.

The order of videos, the crops in time, the head's initial weights and its dropout are those of `train_head`: with a
learning rate of 0 for the encoder and no crop or flip of the pictures, every step is the same as on extracted features.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.annotations.segments import PROPOSAL_LABEL
from pipeline.heads.registry import build_head
from pipeline.training.end_to_end_state import Run
from pipeline.training.end_to_end_step import Job, StepReport, take_step
from pipeline.training.schedule import epoch_batches
from pipeline.training.train_head import FitResult, new_head
from pipeline.training.trained_encoder import EncoderWithHead, TrainedEncoder
from pipeline.training.validation import validate
from pipeline.training.weights import copy_to_cpu, parameter_groups
from sola.distributed import interrupts_noted
from sola.interrupt import interrupt_held_back

_SAVE_SECONDS = 600.0

Save = Callable[[Callable[[], dict[str, Any]]], None]


@dataclass(frozen=True)
class EndToEndResult:
    """The trained networks.

    Args:
        fit: the head, as from `fit_head`.
        network: the plain network of the encoder, with the weights of the same epoch.
        history: for each epoch the mean of `gradient_share` and the last `change` of `StepReport`.
    """

    fit: FitResult
    network: nn.Module
    history: list[dict[str, float]]


def fit_end_to_end(
    network: nn.Module,
    job: Job,
    *,
    resume: Mapping[str, Any] | None = None,
    save: Save = lambda state: None,
    on_step: Callable[[StepReport], None] = lambda report: None,
) -> EndToEndResult:
    """Train `network`, an encoder's plain network, with a new head; return the weights that do best on `job.val`.

    The same job gives the same weights on the same device, even if it was interrupted.

    Args:
        resume: a state that `save` got.
        save: gets a function that returns the state, every ten minutes, after each epoch and on Ctrl-C.
        on_step: called after each step.

    Raises:
        PipelineError: the loss or the gradient is not finite; the message names the step.
        EncoderError: no stage of the encoder is left to learn.
    """
    if job.config.class_agnostic:
        train, val = ([replace(s, item=s.item.as_proposals()) for s in side] for side in (job.train, job.val))
        job = replace(job, train=train, val=val, labels=(PROPOSAL_LABEL,))
    with torch.random.fork_rng(devices=[job.device] if job.device.type == "cuda" else []):
        torch.manual_seed(job.config.seed)
        run = start_run(network, job, measure=resume is None)
        if resume is not None:
            run.load(resume)
        nothing: list[int] = []
        with interrupts_noted() if job.team.size > 1 else nullcontext(nothing) as noted:
            while run.epoch < job.config.epochs:
                _run_epoch(run, job, save, on_step, noted)
    run.network.load_state_dict(run.best["network"])
    best = run.network.cpu().eval()
    maps = tuple((int(epoch), float(average)) for epoch, average in run.validation_maps)
    labels, epoch, score = tuple(job.labels), run.best["epoch"], run.best["map"]
    fit = FitResult(best.head, labels, epoch, score, run.losses, validation_maps=maps)
    return EndToEndResult(fit, best.encoder.network, run.history)


def start_run(network: nn.Module, job: Job, *, measure: bool) -> Run:
    """Return the networks and the optimizer; without `measure` the head does not know the features' statistics."""
    config, settings = job.config, job.settings
    bf16 = settings.training_precision == "bf16" or (
        settings.training_precision == "auto" and job.device.type == "cuda"
    )
    encoder = TrainedEncoder(network, job.spec, frozen_stages=settings.frozen_stages, bf16=bf16).to(job.device)
    if measure:
        head = new_head(job.items(encoder, job.train), len(job.labels), config)
    else:
        head = build_head(job.spec.feature_dim, len(job.labels), config.head)
    both = EncoderWithHead(encoder, head).to(job.device)
    share = settings.encoder_learning_rate / config.learning_rate
    groups = [
        *parameter_groups(head, weight_decay=config.weight_decay, share=1.0),
        *parameter_groups(encoder, weight_decay=config.weight_decay, share=share),
    ]
    return Run(both, torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate))


def _run_epoch(run: Run, job: Job, save: Save, on_step: Callable[[StepReport], None], noted: Sequence[int]) -> None:
    """Train the present epoch, from its first step or from where it was interrupted."""
    config = job.config
    run.rng = np.random.default_rng([config.seed, run.epoch + 1])
    torch.manual_seed(int(run.rng.integers(2**62)))
    batches = list(epoch_batches(len(job.train), config=config, rng=run.rng))
    run.restore_random()
    run.network.train()
    saved = time.monotonic()
    try:
        for chosen in batches[run.done :]:
            with interrupt_held_back():
                report = take_step(run, job, [job.train[index] for index in chosen])
            on_step(report)
            if any(job.team.any([bool(noted)], job.device)):
                raise KeyboardInterrupt
            if time.monotonic() - saved > _SAVE_SECONDS:
                save(run.state)
                saved = time.monotonic()
        _end_epoch(run, job)
    except KeyboardInterrupt:
        if run.is_consistent:  # a second Ctrl-C does not wait for the end of a step
            save(run.state)
        raise
    save(run.state)


def _end_epoch(run: Run, job: Job) -> None:
    """Validate the averaged weights if it is time, keep them if they are the best, and note the epoch."""
    config, epoch = job.config, run.epoch + 1
    score: float | None = None
    is_best = not job.val
    if job.val and (epoch % config.validate_every_epochs == 0 or epoch == config.epochs):
        items = job.items(run.average.encoder, job.val)
        score = validate(run.average.head, items, labels=job.labels, config=config).average
        is_best = run.best["map"] is None or score > run.best["map"]
    with interrupt_held_back():
        run.end_epoch()
        if score is not None:
            run.validation_maps.append([epoch, score])
        if is_best:
            run.best = {"epoch": epoch, "map": score, "network": copy_to_cpu(run.average)}
