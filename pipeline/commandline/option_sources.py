"""Options that the command line does not give: from a TOML file and from presets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

from cyclopts import App, ArgumentCollection
from cyclopts.config import Dict

from pipeline.commandline.effects import refuse_without_effect, value_of
from pipeline.commandline.old_options import table_of_command, table_with_current_names
from pipeline.commandline.spelling import PRESET, remember
from pipeline.errors import PipelineError
from pipeline.extraction.presets import FeaturePreset, feature_preset
from pipeline.heads.presets import preset
from pipeline.pretraining.presets import PretrainPreset, pretrain_preset
from pipeline.storage.read_files import read_toml
from pipeline.text.option_values import refuse_wrong_kinds
from sola.config import SolaPreset
from sola.config import preset as sola_preset

Preset = Literal["thumos14", "activitynet13", "hacs"]

_BEFORE_RUN = ("stitch", "pretrain")  # tables of a file of settings for steps before `run`
# The options that name presets, by command: the stage of each, and the group of options that it gives.
_PRESETS = {
    "extract": {"--preset": ("extract", "")},
    "sola": {"--preset": ("sola", "")},
    "train": {"--preset": ("train", "")},
    "pretrain": {"--preset": ("pretrain", "")},
    "run": {
        "--preset": ("train", "train"),
        "--extract-preset": ("extract", "extract"),
        "--sola-preset": ("sola", "sola"),
    },
}


class OptionSources:
    """Completes a command's arguments after the command line is parsed: from a file, then from presets.

    The file is that of `--config`, or the first word of `run`. `run` gets the whole file except the tables for steps
    before it. Other commands get their own table (`plan`: that of `extract` as well).

    Args:
        file: the value of `--config`.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Complete the arguments.

        Raises:
            PipelineError: no such file, it is not TOML or has nothing for the command, or an option has no effect.
        """
        remember(arguments)
        command = " ".join(commands)
        _name_the_kind_of_head(arguments)
        file = self._file
        if command == "run" and arguments[0].tokens:
            if file is not None:
                raise PipelineError(
                    f"give one file of settings, got {arguments[0].tokens[0].value} and --config {file}"
                )
            file = Path(arguments[0].tokens[0].value)
        values: dict[str, Any] = read_toml(file) if file is not None else {}
        if file is not None:
            table = table_with_current_names(_table_of(command, values, file), arguments, file=str(file))
            _take(table, str(file), app, commands, arguments)
        for source, given in _preset_values(command, arguments):
            _take(given, source, app, commands, arguments)
        if command == "plan":  # it estimates `extract`, with its settings
            _require_table(values.get("extract", {}), file, "extract")
            _take(values.get("extract", {}), str(file), app, commands, arguments)
        _name_the_kind_of_head(arguments)
        refuse_wrong_kinds(arguments)
        remember(arguments)
        refuse_without_effect(commands, arguments)


def _table_of(command: str, values: dict[str, Any], file: Path) -> dict[str, Any]:
    if command == "run":
        return {name: value for name, value in values.items() if name not in _BEFORE_RUN}
    table: Any = values
    for name in command.replace("-", "_").split():
        table = table_of_command(name, table, file=str(file)) if isinstance(table, dict) else None
    if table is None and not (command == "plan" and "extract" in values):
        wanted = command.replace("-", "_").replace(" ", ".")
        raise PipelineError(f"settings: {file} has no table [{wanted}], so --config has no effect")
    _require_table(table or {}, file, command)
    return table or {}


def _require_table(table: Any, file: Path | None, command: str) -> None:
    if not isinstance(table, dict):
        name = command.replace("-", "_").replace(" ", ".")
        raise PipelineError(f"settings: {file}: {name} must be a table [{name}] of options, got {table!r:.40}")


def _take(
    values: dict[str, Any], source: str, app: App, commands: tuple[str, ...], arguments: ArgumentCollection
) -> None:
    for name in reversed(commands):
        values = {name: values}
    Dict(values, source=source)(app, commands, arguments)


def _name_the_kind_of_head(arguments: ArgumentCollection) -> None:
    """Take --head gtad as --head.kind gtad, since it is the option that is varied most."""
    for name in ("--head", "--train.head"):
        group, kind = arguments.get(name, None), arguments.get(f"{name}.kind", None)
        if group is not None and kind is not None and group.tokens and not group.tokens[0].keys:
            if kind.tokens:
                raise PipelineError(f"give {name} or {name}.kind, not both")
            kind.tokens, group.tokens = group.tokens, []


def _preset_values(command: str, arguments: ArgumentCollection) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield source and settings of each given preset, as if they were in a file of settings.

    Yields nothing for an unknown preset: the error that follows names the choices.
    """
    for option, (stage, group) in _PRESETS.get(command, {}).items():
        name = value_of(arguments[option])
        values: dict[str, Any] = {}
        if stage == "train" and name in get_args(Preset):
            kind = value_of(arguments[f"--{group}.head.kind" if group else "--head.kind"])
            values = asdict(preset(name, kind=kind))
            if group:
                yield PRESET, {"evaluate": {"subset": values["validation_subset"]}}
        elif stage == "extract" and name in get_args(FeaturePreset):
            values = feature_preset(name)
            for unit in ("window", "stride"):  # a length in seconds replaces the preset's frames
                if arguments[f"--{group}.{unit}-seconds" if group else f"--{unit}-seconds"].tokens:
                    values.pop(f"{unit}_frames", None)
        elif stage == "sola" and name in get_args(SolaPreset):
            values = asdict(sola_preset(name))
        elif stage == "pretrain" and name in get_args(PretrainPreset):
            values = pretrain_preset(name)
        yield PRESET, {group: values} if group else values
