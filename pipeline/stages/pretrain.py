"""Stage: clips or untrimmed videos → weights of a snippet encoder, trained on a pretext task.

WEIGHTS includes its spec: give it to `extract --weights`. Beside it lie WEIGHTS.json (measures, history), WEIGHTS.png
(curves), WEIGHTS.frames/ (small frames; no longer needed afterwards) and, until training is finished,
WEIGHTS.checkpoint. The task is one of `pipeline.pretraining.tasks`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from encoders.spec import EncoderSpec
from encoders.start import StartEncoder, start_encoder
from encoders.trained import save_trained
from encoders.weights import WeightsInfo
from pipeline.errors import PipelineError
from pipeline.plots.figures import save_figure
from pipeline.plots.training_curves import draw_pretraining
from pipeline.pretraining.classify import accuracy_text
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.task import Outcome, Request, Task
from pipeline.pretraining.tasks import plan_task
from pipeline.pretraining.trainer import EncoderTrainer
from pipeline.progress import Report, silent
from pipeline.storage.atomic_files import remove, whole_file, write_json
from pipeline.storage.read_files import read_json, sha256_of_file
from pipeline.text.plain import counted
from sola.distributed import ALONE, Team
from sola.metering import is_counted
from sola.old_names import stored_settings

_CACHING = 0.2  # share of the progress for filling the cache
_TRAINED_HERE = "; trained here on clips at"


@dataclass
class PretrainSummary:
    """The result of the training.

    Args:
        outcome: what the encoder reaches on held-out data.
        samples: number of training samples, and of held-out samples.
        failed: path → reason of the files that could not be read.
        history: for each epoch the mean training loss, its parts, and the measures on held-out data.
        kept_epoch: the epoch whose weights are written, from 1.
        seconds: of training, without filling the cache.
        finished_before: whether an earlier run had made the weights.
        unit: what a sample is.
    """

    outcome: Outcome
    samples: tuple[int, int]
    failed: dict[str, str]
    history: list[dict[str, float]] = field(default_factory=list)
    kept_epoch: int = 0
    seconds: float = 0.0
    finished_before: bool = False
    unit: str = "clip"

    def text(self) -> str:
        """Return one line: what was measured, samples, time."""
        before = "trained before, unchanged (remove the file to train again): " if self.finished_before else ""
        kept = f"; kept epoch {self.kept_epoch}" if self.kept_epoch < len(self.history) else ""
        trained_on = f"trained on {counted(self.samples[0], self.unit)} in {self.seconds:.0f} s"
        return f"{before}{self.outcome.text}; {trained_on}{kept}"


def pretrain(
    source: Path,
    out: Path,
    config: PretrainConfig,
    *,
    annotations: Path | None = None,
    report: Report = silent,
    team: Team = ALONE,
) -> PretrainSummary:
    """Train the encoder that `config` names on the data in `source`, and write its weights to `out`.

    After an interruption the same command continues after the last whole epoch and ends with the same weights. After
    the end it does nothing, as long as data and settings are the same.

    Args:
        source: what the task reads: class folders of trimmed clips, or a CSV file (see
            `pipeline.pretraining.clips.find_clips`), or untrimmed videos as for `extract`.
        out: a .safetensors file.
        annotations: of untrimmed videos.
        report: gets the share that is done, 0 to 1.
        team: the processes that share the work; the first writes files.

    Raises:
        PipelineError, EncoderError: there are too few clips, the encoder is unknown, or the weights do not fit.
    """
    if out.suffix != ".safetensors":
        raise PipelineError(f"--out must be a .safetensors file, got {out}")
    config = replace(config, size=config.side)  # records say which it was
    start = start_of(config)
    plan = plan_task(Request(source, annotations, start.spec, config))
    identity = _identity(plan.facts, config, start.weights)
    before = team.broadcast(_finished_before(out, identity, plan.files) if team.is_first else None)
    if before is not None:
        if team.is_first:
            remove(out.with_suffix(".checkpoint"))
        return before

    def caching(done: float, text: str) -> None:
        report(_CACHING * done, text)

    if team.is_first:  # the others find the frames in the cache
        task = plan.prepare(out.with_suffix(".frames"), caching)
    team.broadcast(None)
    if not team.is_first:
        task = plan.prepare(out.with_suffix(".frames"), silent)
    trainer = EncoderTrainer(start, task, config, identity=identity, team=team)
    _train(trainer, checkpoint=out.with_suffix(".checkpoint"), epochs=config.epochs, report=report, team=team)
    outcome = team.broadcast(trainer.finish() if team.is_first else Outcome("", {}))
    summary = PretrainSummary(
        outcome,
        task.samples,
        task.failed,
        trainer.history,
        trainer.kept_epoch,
        trainer.seconds,
        unit=_unit(config.task),
    )
    if team.is_first:
        _write(out, trainer, start.spec, summary, _about(config, task, outcome), (identity, _bytes_of(plan.files)))
    return summary


def _unit(task: str) -> str:
    return "video" if task == "pal" else "clip"


def _about(config: PretrainConfig, task: Task, outcome: Outcome) -> dict[str, Any]:
    return {"settings": stored_settings(config), **task.about, **outcome.measures, "clips": list(task.samples)}


def _write(
    out: Path,
    trainer: EncoderTrainer,
    spec: EncoderSpec,
    summary: PretrainSummary,
    about: dict[str, Any],
    identity: tuple[str, int],
) -> None:
    """Write the weights, their record and their curves, and remove the checkpoint."""
    with whole_file(out) as partial:
        save_trained(partial, trainer.network, spec, about=about)
    save_figure(draw_pretraining(summary.history), [out.with_suffix(".png")])
    made = {"identity": identity[0], "bytes_of_clips": identity[1], "sha256": sha256_of_file(out)}
    facts = {name: value for name, value in asdict(summary).items() if name not in ("outcome", "samples", "unit")}
    record = {**about, **summary.outcome.details, "outcome": asdict(summary.outcome), **facts, "made": made}
    write_json(out.with_suffix(".json"), record)
    remove(out.with_suffix(".checkpoint"))


def _train(trainer: EncoderTrainer, *, checkpoint: Path, epochs: int, report: Report, team: Team) -> None:
    """Train up to epoch `epochs`, from the checkpoint if there is one; write it after each epoch."""
    trainer.load(checkpoint)
    if team.is_first and trainer.epoch == 0 and is_counted():  # of what the start took, such as global features
        trainer.save(checkpoint)
    while trainer.epoch < epochs:
        trainer.train()
        if team.is_first:
            trainer.save(checkpoint)
        measures = {name: value for name, value in trainer.history[-1].items() if not name.endswith("loss")}
        shown = "".join(f", {name.replace('_', ' ')} {100 * value:.1f}%" for name, value in measures.items())
        text = f"epoch {trainer.epoch}/{epochs}, loss {trainer.history[-1]['loss']:.3f}{shown}"
        report(_CACHING + (1 - _CACHING) * trainer.epoch / epochs, text)


def remove_frames(out: Path) -> None:
    """Remove the small frames beside the weights `out`."""
    shutil.rmtree(out.with_suffix(".frames"), ignore_errors=True)


def start_of(config: PretrainConfig) -> StartEncoder:
    """Return the encoder to train, with the weights and pictures that it starts with.

    Raises:
        EncoderError: there is no such encoder, or it cannot be trained so.
    """
    start = start_encoder(
        config.encoder,
        pool=config.pool,
        weights=config.weights,
        seed=config.seed,
        size=config.side,
        frozen_stages=config.frozen_stages,
    )
    before, _, _ = start.spec.source.partition(_TRAINED_HERE)  # of weights that were trained here before
    source = f"{before}{_TRAINED_HERE} {start.spec.crop_size} pixels"
    return replace(start, spec=replace(start.spec, source=source))


def _finished_before(out: Path, identity: str, files: Sequence[Path]) -> PretrainSummary | None:
    """Return the result that left the weights `out`, if they are whole, of this identity, and no file has changed."""
    try:
        value = read_json(out.with_suffix(".json"), what="record of the training")
        made = value["made"]
        if (made["identity"], made["bytes_of_clips"]) != (identity, _bytes_of(files)):
            return None
        newest = max(file.stat().st_mtime_ns for file in files)
        if newest > out.stat().st_mtime_ns or sha256_of_file(out) != made["sha256"]:
            return None
        known = {name: value[name] for name in ("failed", "history", "seconds")}
        epoch = value.get("kept_epoch", len(known["history"]))
        samples = tuple(value["clips"])
        unit = _unit(value["settings"].get("task", "classify"))
        return PretrainSummary(_outcome(value), samples, kept_epoch=epoch, finished_before=True, unit=unit, **known)
    except (PipelineError, OSError, KeyError, TypeError):  # not finished, or made by another version
        return None


def _outcome(record: dict[str, Any]) -> Outcome:
    """Return the outcome in a record; before there were several tasks it was the accuracy."""
    if "outcome" in record:
        return Outcome(**record["outcome"])
    text = accuracy_text(record["clips"][1], record["accuracy"], record["per_class"])
    return Outcome(text, {"accuracy": record["accuracy"]}, {"per_class": record["per_class"]})


def _bytes_of(files: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in set(files))


def _identity(facts: Any, config: PretrainConfig, weights: WeightsInfo) -> str:
    given = [facts, stored_settings(config)]
    if not weights.random and weights.url is None:  # a name alone does not say what is in a file
        given.append(weights.sha256)
    return sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()
