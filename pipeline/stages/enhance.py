"""Stage: feature store → fitted SoLa module + enhanced feature store.

The module is fitted on the store's own sequences, without labels, and lies in the enhanced store as `sola.safetensors`.
Then every sequence goes through it once: same ids, same shapes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders.stand_ins import stand_in_of
from pipeline.errors import PipelineError
from pipeline.plots.figures import save_figure
from pipeline.plots.sola_curve import draw_curve
from pipeline.progress import Report, silent
from pipeline.stages.enhanced_store import enhance_sequences, refuse_as_source
from pipeline.storage.atomic_files import partial_path, publish_new, remove, write_json
from pipeline.storage.local import cached, work_folder
from pipeline.storage.location import AnyPath, RemotePath
from pipeline.storage.read_files import sha256_of_file
from pipeline.storage.temporary_names import remove_abandoned
from pipeline.store.feature_store import MODULE_FILE, FeatureStore
from pipeline.store.window_source import StoreSource
from pipeline.text.plain import counted
from sola.config import SolaConfig, config_to_dict
from sola.diagnostics import data_warnings
from sola.distributed import ALONE, Team
from sola.files import load_module, write_module
from sola.fit import fit
from sola.gauge_text import before_line, verdict
from sola.module import SolaModule
from sola.reference_checkpoint import is_safetensors, load_reference, save_reference
from sola.small_data import adapted, skip_reason

HISTORY_FILE = "sola_history.json"
GAUGE_FILE = "sola_gauge.json"
CURVE_FILES = ("sola_curve.png", "sola_curve.svg")
BESIDE = (MODULE_FILE, HISTORY_FILE, GAUGE_FILE, *CURVE_FILES)
_CHECKPOINT_FILE = ".sola_checkpoint"


@dataclass
class EnhanceSummary:
    """Number of sequences enhanced now, and before; where the module comes from; notes for the user.

    `history` is the curve of a fit, `gauge` what it won (`sola.gauge.Gauge.as_json`), None for a module without it.
    """

    done: int = 0
    skipped: int = 0
    module: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    gauge: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return one line of counts."""
        return f"module {self.module}; {counted(self.done, 'sequence')} enhanced, {self.skipped} were enhanced before"

    def verdict(self) -> str:
        """Return one sentence on what the fit won; empty for a module without a gauge."""
        return "" if self.gauge is None else verdict(self.gauge)


def enhance_store(
    source: FeatureStore,
    out: AnyPath,
    config: SolaConfig,
    *,
    module_file: Path | None = None,
    report: Report = silent,
    on_note: Callable[[str], None] | None = None,
    team: Team = ALONE,
) -> tuple[FeatureStore, EnhanceSummary]:
    """Fit SoLa on `source` (or take a fitted module) and write the enhanced store `out`.

    In a team every process makes the same call. The sequences are divided among the processes; the summary covers all.

    Args:
        source: a store of plain features.
        config: of the fit; not used with `module_file`, except for `dilations`, which the authors' checkpoints lack.
        module_file: a module that was fitted before, ours or a checkpoint of the authors; it is applied unchanged.
        report: gets the share that is done, 0 to 1.
        on_note: gets each note of the summary at once, so that warnings about the data come before the fit begins.
        team: the processes that share the work; all see the folders of both stores.

    Raises:
        PipelineError, SolaError: there is nothing to fit on, `out` holds something else, or the module does not fit.
    """
    refuse_as_source(source, out)
    job = _Job(source, out, report, on_note, team)
    if team.is_first:
        remove_abandoned(_checkpoint_file(out).parent)
    module, config = _fit_module(job, config) if module_file is None else _take_module(job, module_file, config)
    # The files of the first process are there now; another machine may see them later.
    sha256 = team.broadcast(sha256_of_file(job.fitted) if team.is_first else "")
    sola = {"module_sha256": sha256, "settings": config_to_dict(config)}
    store = FeatureStore.create(out, replace(source.spec, sola=sola), beside=BESIDE)
    if team.is_first:
        remove(_checkpoint_file(out))
    job.summary.done, job.summary.skipped = enhance_sequences(
        source, store, module, report=report, note=job.note, team=team
    )
    return store, job.summary


@dataclass
class _Job:
    """One call of `enhance_store`."""

    source: FeatureStore
    out: AnyPath
    report: Report
    on_note: Callable[[str], None] | None
    team: Team
    summary: EnhanceSummary = field(default_factory=EnhanceSummary)

    @property
    def fitted(self) -> AnyPath:
        """The file of the module."""
        return self.out / MODULE_FILE

    def note(self, line: str) -> None:
        self.summary.notes.append(line)
        if self.on_note is not None:
            self.on_note(line)


def _checkpoint_file(out: AnyPath) -> Path:
    """Return the checkpoint of an unfinished fit: in `out`, or on this machine if `out` is remote."""
    return (work_folder(out) if isinstance(out, RemotePath) else out) / _CHECKPOINT_FILE


def _fit_module(job: _Job, config: SolaConfig) -> tuple[SolaModule, SolaConfig]:
    """Return the module in `out` if it was fitted on this store with these settings; else fit one."""
    source, fitted, team = job.source, job.fitted, job.team
    sequences = StoreSource(source)
    lengths = np.array([sequences.length(index) for index in range(len(sequences))], dtype=np.int64)
    config, adaptation = adapted(config, lengths)
    origin = {"fitted_on": source.fingerprint(), "channels": str(source.spec.channels)}
    if team.broadcast(fitted.exists()):
        module, earlier, extra = load_module(cached(fitted))
        if extra.get("fitted_on") != origin["fitted_on"]:
            raise PipelineError(
                f"{fitted} was fitted on other features than {source.path} now holds; choose another --out, "
                f"or apply it to them with --module {fitted} and another --out"
            )
        if differing := _differences(earlier, config):
            raise PipelineError(f"{fitted} was fitted with other settings ({differing}); choose another --out")
        job.summary.module = f"fitted before ({fitted})"
        job.summary.gauge = _gauge_of(extra)
        return module, earlier
    fitted.parent.mkdir(parents=True, exist_ok=True)
    for warning in filter(None, [skip_reason(lengths, config), adaptation, *data_warnings(lengths, config)]):
        job.note(warning)  # before the fit, which may take hours
    result = fit(
        sequences,
        config,
        channels=source.spec.channels,
        checkpoint=_checkpoint_file(fitted.parent),
        on_start=lambda losses: job.note(
            before_line(losses.gain(losses.before), losses.constant, losses.least, losses.before)
        ),
        on_step=lambda record, steps: job.report(
            record.step / steps, f"step {record.step}/{steps}, loss {record.loss:.4f}"
        ),
        on_warning=job.note,
        team=team,
    )
    history = [asdict(record) for record in result.history]
    if team.is_first:
        assert result.gauge is not None, "the fit is finished, and this process is the first"
        gauge = result.gauge.as_json()
        write_json(fitted.parent / HISTORY_FILE, history)
        write_json(fitted.parent / GAUGE_FILE, {**gauge, "verdict": verdict(gauge)})
        save_figure(draw_curve(history, gauge=gauge), [fitted.parent / name for name in CURVE_FILES])
        _publish_module(fitted, result.module, config, {**origin, "gauge": json.dumps(gauge)})
        job.summary.gauge = gauge
    job.summary.module = f"fitted on {counted(len(source.ids()), 'sequence')}"
    job.summary.history = history
    return result.module, config


def _gauge_of(extra: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what a module's file says about its fit; None for files of other programs and of versions before 0.3."""
    try:
        gauge = json.loads(extra.get("gauge", "null"))
        verdict(gauge)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return dict(gauge)


def _publish_module(fitted: AnyPath, module: SolaModule, config: SolaConfig, origin: dict[str, str]) -> None:
    """Write the module; refuse if another process has written a different one meanwhile."""
    fitted.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(fitted)
    try:
        write_module(partial, module, config, origin)
        publish_new(partial, fitted)
        if sha256_of_file(fitted) != sha256_of_file(partial):
            raise PipelineError(
                f"{fitted} was written by another process meanwhile, with other settings or features; choose another "
                "--out"
            )
    finally:
        partial.unlink(missing_ok=True)


def _take_module(job: _Job, path: Path, settings: SolaConfig) -> tuple[SolaModule, SolaConfig]:
    """Return a module that was fitted before, and its settings; put it into `out`, or refuse if another one is there.

    Args:
        path: a file of ours, or of the method's authors.
        settings: only `dilations` is used, for the authors' file, which does not state its own.
    """
    source, fitted = job.source, job.fitted
    if what := stand_in_of(path):
        raise PipelineError(f"module: {path} is {what}")
    if not path.is_file() or is_safetensors(path):
        module, config, extra = load_module(path)
        if settings.dilations not in (config.dilations, SolaConfig.dilations):
            stated = " ".join(map(str, config.dilations))
            raise PipelineError(f"dilations must not be given for {path}, which states its own, {stated}")
    else:
        given = None if set(settings.dilations) == {1} else settings.dilations
        module, config = load_reference(path, dilations=given)
        extra = {"reference_sha256": sha256_of_file(path)}
        taken = " ".join(map(str, config.dilations))
        job.note(
            f"{path} is a checkpoint of the authors, which does not state its dilations: --dilations {taken} is used"
        )
    if module.channels != source.spec.channels:
        raise PipelineError(
            f"{path} was fitted for features of {module.channels} channels, {source.path} has {source.spec.channels}"
        )
    job.summary.module = f"taken from {path}"
    job.summary.gauge = _gauge_of(extra)
    if job.team.is_first:
        if not fitted.exists():
            _publish_module(fitted, module, config, extra)
        elif not _is_same_module(fitted, module, config):
            raise PipelineError(f"{fitted} is another module than {path}; choose another --out")
    return module, config


def _is_same_module(fitted: AnyPath, module: SolaModule, config: SolaConfig) -> bool:
    earlier, settings, _ = load_module(cached(fitted))
    before, now = earlier.state_dict(), module.state_dict()
    return settings == config and all(torch.equal(before[name], now[name]) for name in now)


def export_reference(module_file: AnyPath, file: Path) -> str:
    """Write a fitted module in the format of the method's authors; return their settings for it, and what differs.

    Raises:
        SolaError: their network cannot hold it.
    """
    module, _, _ = load_module(cached(module_file))
    settings = save_reference(file, module)
    text = ", ".join(f"{name}: {value}" for name, value in settings.items())
    if module.padding == "zeros":
        return text
    ends = f"their code pads with zeros, this module was fitted with {module.padding}"
    return f"{text}; {ends}: rows near the ends of a video will differ (fit with --padding zeros to have them equal)"


def _differences(earlier: SolaConfig, now: SolaConfig) -> str:
    before, after = asdict(earlier), asdict(now)
    # These change the time and the log, not the result.
    ignored = {"device", "readers", "checkpoint_every_steps", "log_every_steps"}
    return "; ".join(
        f"{name}: {before[name]!r} there, {after[name]!r} asked for"
        for name in before
        if name not in ignored and before[name] != after[name]
    )
