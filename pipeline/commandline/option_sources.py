"""Where options come from when the command line does not give them: a TOML file, and presets."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

from cyclopts.config import Dict

from pipeline.errors import PipelineError
from pipeline.feature_presets import FeaturePreset, feature_preset
from pipeline.files import read_text
from pipeline.localization.presets import preset
from pipeline.storage.local import FOLDER_VARIABLE, GIGABYTES_VARIABLE, cache_bytes
from sola.config import SolaPreset
from sola.config import preset as sola_preset

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Preset = Literal["thumos14", "activitynet13", "hacs"]

_BEFORE_RUN = ("stitch", "pretrain")  # tables of a file of settings that speak of what comes before `run`
# The head is the one option that everybody varies: --head gtad is --head.kind gtad.
_SHORT = {"--head": "--head.kind", "--train.head": "--train.head.kind"}


def option_sources(tokens: list[str]) -> tuple[list[str], tuple[Dict, ...]]:
    """The words of a command that remain, and the sources of options that they do not give, the first one first.

    The file is that of ``--config``, or the first word of `run`. `run` is given the whole file but for
    the tables of what comes before it, every other command its own table. Presets come last.

    Raises:
        PipelineError: no such file, or it is not TOML.
    """
    tokens = [_SHORT.get(token, token) for token in tokens]
    sources: list[Dict] = []
    if "--config" in tokens:
        place = tokens.index("--config")
        file, tokens = tokens[place + 1 : place + 2], tokens[:place] + tokens[place + 2 :]
        if not file:
            raise PipelineError("--config must be followed by a TOML file")
    else:
        file = [word for word in tokens[1:2] if tokens[0] == "run" and not word.startswith("-")]
    if file:
        values = read_toml(Path(file[0]))
        given = values
        if tokens[:1] == ["run"]:
            given = {"run": {name: value for name, value in values.items() if name not in _BEFORE_RUN}}
        sources.append(Dict(given, source=file[0]))
    sources += [Dict(values, source="preset") for values in _preset_values(tokens)]
    if file and tokens[:1] == ["plan"]:  # it foresees what `extract` does, with the settings of that
        sources.append(Dict({"plan": values.get("extract", {})}, source=file[0]))
    return tokens, tuple(sources)


def take_cache(tokens: list[str]) -> list[str]:
    """The words without --cache-folder and --cache-gigabytes, which go into the environment: they hold for the
    processes that this one starts as well.

    Raises:
        PipelineError: an option without a value, or no number of gigabytes > 0.
    """
    variables = {"--cache-folder": FOLDER_VARIABLE, "--cache-gigabytes": GIGABYTES_VARIABLE}
    rest = []
    words = iter(tokens)
    for word in words:
        name, given, value = word.partition("=")
        if name not in variables:
            rest.append(word)
            continue
        value = value if given else next(words, "")
        if not value:
            raise PipelineError(f"{name} must be followed by a value")
        os.environ[variables[name]] = value
    cache_bytes()  # a wrong number is refused at once
    return rest


def _preset_values(tokens: list[str]) -> Iterator[dict[str, Any]]:
    """The settings of the presets that the words ask for, as if they stood in a file of settings.

    Of an unknown preset nothing: the command line's own error names the choices.
    """
    named = dict(itertools.pairwise(tokens))
    command = tokens[0] if tokens else ""
    of_head, of_features, of_sola = named.get("--preset"), named.get("--extract-preset"), named.get("--sola-preset")
    if command == "extract":
        of_head, of_features = None, of_head
    elif command == "sola":
        of_head, of_sola = None, of_head
    if of_head in get_args(Preset):
        kind = named.get("--train.head.kind", named.get("--head.kind", "anchor_free"))
        values = asdict(preset(of_head, kind=kind))  # type: ignore[arg-type]
        yield _table(command, "train", values)
        if command == "run":
            yield {"run": {"evaluate": {"subset": values["validation_subset"]}}}
    if of_features in get_args(FeaturePreset):
        values = feature_preset(of_features)  # type: ignore[arg-type]
        for unit in ("window", "stride"):  # said in seconds, a length takes the place of the preset's frames
            if any(token.split("=")[0].endswith(f"{unit}-seconds") for token in tokens):
                values.pop(f"{unit}_frames", None)
        yield _table(command, "extract", values)
    if of_sola in get_args(SolaPreset):
        yield _table(command, "sola", asdict(sola_preset(of_sola)))  # type: ignore[arg-type]


def _table(command: str, stage: str, values: dict[str, Any]) -> dict[str, Any]:
    return {"run": {stage: values}} if command == "run" else {stage: values}


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a file of settings.

    Raises:
        PipelineError: no such file, or it is not TOML.
    """
    text = read_text(path, what="settings")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise PipelineError(f"settings: {path} is not TOML that can be read: it is nested too deep") from None
    except ValueError as error:  # of the library, or Python's own on integers of very many digits
        raise PipelineError(f"settings: {path} is not TOML: {str(error).partition(';')[0]}") from None
