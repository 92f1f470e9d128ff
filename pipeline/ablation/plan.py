"""Read an ablation's file into cells: one for every variant, combination of the grid, and seed.

annotations = "annotations.json"      # or --annotations
store = "features/"                   # or --store; or videos = ["videos/"], or --videos
video_scores = "scores.json"          # if the heads are class-agnostic; as for `run`
seeds = [0, 1, 2]
baselines = true                      # add cells without SoLa, with each filter that needs no fit, and turned at random

[grid]                                # every combination
sola.kernel_sizes = [[1, 1, 1], [5, 1, 1]]
[[variants]]                          # named settings, each combined with the grid
name = "centered"
sola.normalize = "center"
[sola]                                # settings of all cells, as in the file of `run`: [extract], [sola], [train], …
steps = 2000
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.ablation.config import AblateConfig
from pipeline.ablation.parse_settings import settings_from
from pipeline.cluster.config import settings_of_results
from pipeline.config import CellConfig
from pipeline.errors import PipelineError
from pipeline.stages.probe_views import ROTATED
from pipeline.storage.read_files import read_toml
from sola.filters import FILTERS
from sola.old_names import OnOld, current_names, stored_name

_STAGES = ("extract", "sola", "train", "localize", "evaluate", "linear_probe")
_OWN = ("annotations", "store", "videos", "seeds", "baselines", "grid", "variants")
_OF_ALL = (*_STAGES, "use_sola", "video_scores")
DATA = ("videos", "annotations", "video_scores", "out")  # options of a cell that are places, not settings


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training of an ablation.

    Args:
        name: of its folder: readable, and unique to its settings.
        options: the options that vary, with their values here; shown in tables.
        seed: of SoLa, of the head and of the linear evaluation.
        store: its features; None: extract `config.videos` first.
        config: the settings of all stages; its `out` is not used.
    """

    name: str
    options: dict[str, Any]
    seed: int
    store: Path | None
    config: CellConfig

    @property
    def label(self) -> str:
        """Return the options that vary, as one line."""
        return label_of(self.options)


def label_of(options: dict[str, Any]) -> str:
    """Return options as a person writes them: the variant's name, then name=value."""
    parts = [value if name == "variant" else f"{name}={value_text(value)}" for name, value in options.items()]
    return ", ".join(parts) or "as it is"


def value_text(value: Any) -> str:
    """Return an option's value as text: lists with commas, true and false as in the file."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(value_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_plan(file: Path, given: AblateConfig, *, on_old: OnOld | None = None) -> list[Cell]:
    """Return the cells of an ablation, in the order of the file; equal cells appear once.

    Args:
        file: TOML, as described above.
        given: the command line's options, which override the file.
        on_old: called with each old name of an option in the file, and the new one.

    Raises:
        PipelineError: the file is absent or not TOML, or an option is unknown or not accepted.
    """
    values = _with_current_names(file, read_toml(file), on_old)
    if unknown := sorted(set(values) - {*_OWN, *_OF_ALL}):
        accepted = ", ".join([*_OWN, *_OF_ALL])
        raise PipelineError(f"{file}: unknown entries {', '.join(unknown)}; accepted are {accepted}")
    seeds = _list(file, "seeds", values.get("seeds", [0, 1, 2, 3, 4]))
    if not all(isinstance(seed, int) and seed >= 0 for seed in seeds):
        raise PipelineError(f"{file}: seeds must be integers >= 0, got {seeds}")
    annotations = given.annotations or _path(values.get("annotations"))
    if annotations is None:
        raise PipelineError(f"{file} names no annotations; add annotations = FILE or give --annotations")
    data = _data(file, values, given)
    common = {name: values[name] for name in _OF_ALL if name in values} | {"use_head": given.head}
    _refuse_seeds(file, _flat(common))
    cells: dict[str, Cell] = {}
    for source, (shown, options), seed in itertools.product(data, _combinations(file, values), seeds):
        if len(data) > 1:
            shown = {"store": str(source["store"]), **shown}
        cell = make_cell(file, {**common, **source}, shown, options, annotations, seed)
        cells.setdefault(cell.name, cell)
    return list(cells.values())


def _with_current_names(file: Path, values: dict[str, Any], on_old: OnOld | None) -> dict[str, Any]:
    """Return the file's content with the current names of options, in its tables, its grid and its variants."""
    try:
        current: dict[str, Any] = current_names(CellConfig, values, on_old)
        for name, table in current.items():
            if name == "grid" and isinstance(table, dict):
                current[name] = current_names(CellConfig, table, on_old)
            elif name == "variants" and isinstance(table, list):
                current[name] = [current_names(CellConfig, one, on_old) for one in table]
    except (ValueError, TypeError) as error:
        raise PipelineError(f"{file}: {error}") from None
    return current


def _combinations(file: Path, values: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each variant with each combination of the grid: the options shown in tables, and all options."""
    variants: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for number, table in enumerate(_list(file, "variants", values.get("variants", [{}]))):
        options = _flat(table)
        name = options.pop("name", f"variant {number + 1}")
        variants.append(({"variant": str(name)} if "variants" in values else {}, options))
    variants = [*_baselines(file, values, variants), *variants]
    names = [shown["variant"] for shown, _ in variants if shown]
    if len(set(names)) < len(names):
        raise PipelineError(f"{file}: each variant must have a name of its own, got {', '.join(names)}")
    grid = _flat(values.get("grid", {}))
    choices = [_list(file, f"grid.{name}", choice) for name, choice in grid.items()]
    for (shown, options), chosen in itertools.product(variants, itertools.product(*choices)):
        from_grid = dict(zip(grid, chosen, strict=True))
        yield {**shown, **from_grid}, {**options, **from_grid}


def _baselines(
    file: Path, values: dict[str, Any], variants: list[tuple[dict[str, Any], dict[str, Any]]]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the variants that need no fit, if the file asks for them; none twice."""
    asked = values.get("baselines", False)
    if not isinstance(asked, bool):
        raise PipelineError(f"{file}: baselines must be true or false, got {asked!r:.40}")
    known = [options for _, options in variants]
    if asked and {"use_sola": False} not in known:
        yield {"variant": "without SoLa"}, {"use_sola": False}
    for name in FILTERS if asked else ():
        if {"filter": name} not in known:
            yield {"variant": name}, {"filter": name}
    if asked and {"rotate": True} not in known:
        yield {"variant": ROTATED}, {"rotate": True}


def _data(file: Path, values: dict[str, Any], given: AblateConfig) -> list[dict[str, Any]]:
    """Return the data that cells work on: each of the stores, or the videos."""
    stores = list(given.store) or _paths(values.get("store", [])) if not given.videos else []
    videos = list(given.videos) or _paths(values.get("videos", [])) if not stores else []
    if stores:
        return [{"store": store} for store in stores]
    if videos:
        return [{"videos": videos}]
    raise PipelineError(f"{file} names neither store nor videos; add one, or give --store or --videos")


def make_cell(
    file: Path, common: dict[str, Any], shown: dict[str, Any], options: dict[str, Any], annotations: Path, seed: int
) -> Cell:
    """Return the cell with some options.

    Args:
        file: names the source in errors.
        common: the settings of all cells, and their data: `store` or `videos`.
        shown: the options that tables show.
        options: of this cell, by dotted names.
        annotations: ground truth.
        seed: of SoLa, of the head and of the linear evaluation.

    Raises:
        PipelineError: an option is unknown or not accepted.
    """
    settings = deepcopy(common)
    store = settings.pop("store", None)
    for name, value in options.items():
        _check_name(file, name, from_store=store is not None)
        _put(settings, name, value)
    if settings.get("filter") is not None or settings.get("rotate"):
        settings["use_sola"] = False
    if settings.get("use_sola", True) is False:
        # Without SoLa its options change nothing: cells that differ in them alone are one.
        shown = {name: value for name, value in shown.items() if not name.startswith("sola.")}
        settings.pop("sola", None)
    _put(settings, "sola.seed", seed)
    _put(settings, "train.seed", seed)
    _put(settings, "linear_probe.seeds", [seed])
    # A store needs no videos, but the settings of `run` do.
    videos = [str(video) for video in settings.pop("videos", ["-"])]
    values = {**settings, "videos": videos, "annotations": str(annotations), "out": "-"}
    config = settings_from(values, CellConfig, file)
    # The path of the data does not matter here; the data themselves are compared when the cell is looked up.
    settled = settings_of_results(config)
    facts = {name: value for name, value in settled.items() if name not in DATA}
    identity = sha256(json.dumps([facts, shown.get("store")], sort_keys=True, default=str).encode()).hexdigest()
    stored = dict(stored_name(CellConfig, option, value) for option, value in shown.items())
    words = re.sub(r"[^A-Za-z0-9.=_]+", "-", label_of(stored))[:60].strip("-.")
    name = f"{words}-seed{seed}-{identity[:10]}"
    return Cell(name=name, options=shown, seed=seed, store=store, config=config)


def _check_name(file: Path, name: str, *, from_store: bool) -> None:
    if name in ("use_sola", "filter", "rotate"):
        return
    stage, _, option = name.partition(".")
    if stage not in _STAGES or not option:
        raise PipelineError(
            f"{file}: {name!r} must be use_sola, filter, rotate or an option of a stage, such as sola.steps"
        )
    _refuse_seeds(file, [name])
    if stage == "extract" and from_store:
        raise PipelineError(f"{file}: {name} varies how videos are extracted: give videos in place of a store")


def _refuse_seeds(file: Path, names: Iterable[str]) -> None:
    for name in {"sola.seed", "train.seed", "linear_probe.seeds"} & set(names):
        raise PipelineError(f"{file}: {name} must not be set by itself; seeds = [...] sets it")


def _put(settings: dict[str, Any], name: str, value: Any) -> None:
    *tables, last = name.split(".")
    for table in tables:
        settings = settings.setdefault(table, {})
    settings[last] = value


def _flat(table: Any, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _list(file: Path, name: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise PipelineError(f"{file}: {name} must be a list of one or more values, got {value!r}")
    return value


def _path(value: Any) -> Path | None:
    return None if value is None else Path(str(value))


def _paths(value: Any) -> list[Path]:
    return [Path(str(item)) for item in (value if isinstance(value, list) else [value])]
