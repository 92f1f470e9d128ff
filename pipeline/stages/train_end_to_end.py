"""Stage: raw videos + annotations → MODEL, a folder with a head and the encoder that was trained with it.

The small frames of the videos are decoded once, into OUT.frames/ or a folder of your choice. MODEL/encoder.safetensors
includes its spec: `localize` uses it, and so does `extract --weights`, for a fresh head on new features.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial as partial_of
from hashlib import sha256

import numpy as np

from encoders.spec import EncoderSpec
from encoders.start import start_encoder
from encoders.trained import save_trained
from pipeline.annotations import sha256_of_annotations
from pipeline.detection.model import ENCODER_FILE, load_model
from pipeline.errors import PipelineError
from pipeline.extraction.encode import open_encoder
from pipeline.extraction.encoders import AnyEncoder
from pipeline.plots.end_to_end_curves import draw_end_to_end
from pipeline.plots.figures import save_figure
from pipeline.progress import Report, silent
from pipeline.stages.end_to_end_data import CACHING, Request, annotated_videos, samples_of, small_frames
from pipeline.stages.train import TrainSummary, finished_before, save_training
from pipeline.stages.train_checkpoint import CHECKPOINT_FILE, Checkpoint
from pipeline.storage.atomic_files import whole_file
from pipeline.storage.location import local
from pipeline.storage.read_files import sha256_of_file
from pipeline.storage.temporary_names import remove_abandoned
from pipeline.text.plain import counted
from pipeline.training.end_to_end import EndToEndResult, fit_end_to_end
from pipeline.training.end_to_end_step import Job, StepReport
from pipeline.training.frame_cache import CachedVideo
from pipeline.training.validation import calibrate, training_device
from pipeline.training.window_frames import View, Window
from pipeline.video.videos import VideoFile
from sola.distributed import ALONE, Team
from sola.old_names import stored_settings

CURVES_FILE = "training.png"
_FIRST_STEPS = 5  # after these, the first numbers are told


@dataclass
class EndToEndSummary(TrainSummary):
    """As of `train`; `failed` has "kind: reason" of the videos that could not be decoded, by id."""

    failed: dict[str, str] = field(default_factory=dict)


def train_end_to_end(
    request: Request,
    *,
    team: Team = ALONE,
    report: Report = silent,
    say: Callable[[str], None] = lambda line: None,
) -> TrainSummary:
    """Train an encoder and a head on raw videos, and write the MODEL folder.

    The epoch that is best on the validation videos is kept. After an interruption the same command continues, and ends
    with the same weights. After the end it does nothing, as long as videos, annotations and settings are the same.

    Args:
        team: the processes that share the snippets of each step; the first writes files.
        report: gets the share that is done, 0 to 1.
        say: gets lines about the frames and the first steps.

    Raises:
        PipelineError, EncoderError: no videos, no annotations for them, bad weights, a loss that is not finite.
    """
    config, settings, out = request.config, request.settings, request.out
    _refuse_others(request)
    start = start_encoder(
        settings.encoder,
        pool=settings.pool,
        weights=settings.weights,
        seed=config.seed,
        size=settings.size,
        frozen_stages=settings.frozen_stages,
    )
    spec = start.spec
    videos, annotations, notes = annotated_videos(request)
    identity = _identity(request, videos, start.weights.sha256)
    checkpoint = Checkpoint(out / CHECKPOINT_FILE, identity)
    if (before := team.broadcast(_finished_before(request, identity) if team.is_first else None)) is not None:
        return before
    folder = request.frames or out.with_name(f"{out.name}.frames")
    plan = settings.extraction().plan(spec)
    made = small_frames(videos, spec, plan, folder, report, say) if team.is_first else ({}, {})
    cached, failed = team.broadcast(made)
    samples, labels = samples_of(request, annotations, cached, notes)
    out.mkdir(parents=True, exist_ok=True)
    if team.is_first:
        remove_abandoned(out)
    job = Job(*samples, labels, spec, config, settings, training_device(config.device), team)
    result = fit_end_to_end(
        start.network,
        job,
        resume=checkpoint.load(),
        save=lambda state: checkpoint.save(state()) if team.is_first else None,
        on_step=_each_step(spec, report, say),
    )
    counts = len(job.train), len(job.val)
    summary = EndToEndSummary(*counts, labels, result.fit.best_epoch, result.fit.best_map, None, notes, failed=failed)
    if team.is_first:
        _write(request, job, result, summary, identity)
        checkpoint.remove()
        if request.frames is None:
            shutil.rmtree(folder, ignore_errors=True)
    return summary


def _refuse_others(request: Request) -> None:
    if request.config.sola != "frozen":
        raise PipelineError(
            f"sola must be frozen with --end-to-end, got {request.config.sola}: fit SoLa on features of the trained "
            f"encoder (`extract --weights MODEL/{ENCODER_FILE}`, then `sola`)"
        )
    if stores := [path for path in request.inputs if (path / "store.json").is_file()]:
        raise PipelineError(f"--end-to-end takes videos, and {stores[0]} is a feature store: leave out --end-to-end")


def _finished_before(request: Request, identity: str) -> TrainSummary | None:
    """Return the result of an earlier run, if its model and its encoder are whole."""
    before = finished_before(request.out, identity)
    if before is None:
        return None
    model = load_model(request.out)
    file = model.encoder_weights
    return before if file is not None and sha256_of_file(file) == model.features.weights["sha256"] else None


def _identity(request: Request, videos: Sequence[VideoFile], weights_sha256: str | None) -> str:
    stats = [(video.id, local(video.path).stat()) for video in videos]
    facts = [
        [[video_id, stat.st_size, stat.st_mtime_ns] for video_id, stat in stats],
        sha256_of_annotations(request.annotations),
        weights_sha256,
        stored_settings(request.config),
        stored_settings(request.settings),
    ]
    return sha256(json.dumps(facts, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _each_step(spec: EncoderSpec, report: Report, say: Callable[[str], None]) -> Callable[[StepReport], None]:
    def on_step(step: StepReport) -> None:
        rate = f"{step.snippets_a_second:.1f} snippets a second"
        if step.done == min(_FIRST_STEPS, step.steps):
            frames = f"{rate}, {step.snippets_a_second * spec.num_frames:.0f} frames"
            say(
                f"after {counted(step.done, 'step')}: {100 * step.gradient_share:.2g}% of the gradient's norm is in "
                f"the encoder, its weights have changed by {100 * step.change:.2g}% of their norm; {frames}"
            )
        loss = sum(step.losses.values())
        score = "" if step.best_map is None else f", best validation mAP {100 * step.best_map:.1f}%"
        text = f"epoch {step.epoch}/{step.epochs}, step {step.done}/{step.steps}, loss {loss:.3f}, {rate}{score}"
        report(CACHING + (1 - CACHING) * step.done / step.steps, text)

    return on_step


def _write(request: Request, job: Job, result: EndToEndResult, summary: EndToEndSummary, identity: str) -> None:
    """Write the encoder, find the score to show from what it gives in use, and write the rest of the MODEL folder."""
    out, fit = request.out, result.fit
    (out / "model.json").unlink(missing_ok=True)
    about = {"settings": stored_settings(request.config), "end_to_end": stored_settings(request.settings)}
    with whole_file(out / ENCODER_FILE) as partial:
        save_trained(partial, result.network, job.spec, about=about)
    extraction = request.settings.extraction(weights=str(out / ENCODER_FILE), device=str(job.device))
    encoder, features = open_encoder(extraction)
    summary.notes.extend(encoder.notes)
    if job.val:
        items = [replace(s.item, features=partial_of(_encoded, encoder, s.video)) for s in job.val]
        summary.best_score = calibrate(fit.head, items, labels=fit.labels, config=request.config)
    save_figure(draw_end_to_end(fit.losses, fit.validation_maps, result.history), [out / CURVES_FILE])
    record = {
        "annotations_sha256": sha256_of_annotations(request.annotations),
        "identity": identity,
        "training_ids": [sample.item.video_id for sample in job.train],
        "more": {"end_to_end": about["end_to_end"], "history": result.history},
    }
    save_training(out, features, request.config, fit, summary, record)


def _encoded(encoder: AnyEncoder, video: CachedVideo) -> np.ndarray:
    """Return the features of a video as `extract` makes them."""
    window = Window(video, 0, video.snippets, View(*encoder.spec.crop_box(video.height, video.width)))
    size = encoder.batch_size
    places = [range(begin, min(begin + size, video.snippets)) for begin in range(0, video.snippets, size)]
    return np.concatenate([encoder.encode(window.snippets(some)).numpy() for some in places])
