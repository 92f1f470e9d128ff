"""Read the file of a comparison: its data, its rows, and the settings of every step.

annotations = "annotations.json"      # or --annotations; videos, clips and their options likewise
videos = "videos/"
clips = "clips/"                      # trimmed clips in class folders, for [start], [stitch], bsp and longer
seeds = [0, 1]
rows = ["standard", "filters", "tsp"] # default: all

[stitch]                              # make the videos of the clips, or with synthetic = true of nothing
[start]                               # settings of `pretrain`: make the start weights; else [extract] names them
[pretrain]                            # settings of `pretrain` for tac, tsp, bsp, pal and longer
[tsp]                                 # the same for one of them, over [pretrain]
[longer]                              # equal_to = "tsp": whose operations it takes
[end_to_end]                          # settings of end-to-end training
[published]                           # settings of SoLa over the published ones
[extract]                             # and [sola], [train], [localize], [evaluate], [linear_probe]: as for `ablate`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.ablation.parse_settings import settings_from
from pipeline.comparison.config import CompareConfig
from pipeline.comparison.rows import CLASSES, END_TO_END, LONGER, SEGMENTS, START, Row, all_rows
from pipeline.config import CellConfig
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.heads.config import TrainConfig
from pipeline.pretraining.config import PretrainConfig, StitchConfig
from pipeline.storage.read_files import read_toml
from pipeline.training.end_to_end_config import EndToEndConfig
from sola.filters import FILTERS
from sola.old_names import OnOld, current_names

STAGES = ("extract", "sola", "train", "localize", "evaluate", "linear_probe")
TASKS = ("tac", "tsp", "bsp", "pal", LONGER)
_DATA = ("annotations", "videos", "clips")
_TABLES = ("stitch", START, "pretrain", *TASKS, END_TO_END, "published", *STAGES)
_OF_SNIPPETS = ("encoder", "pool", "fps", "window_frames", "stride_frames", "stride_seconds")
_SPLIT = ("seed", "validation_share", "group_pattern")
_GIVEN = ("task", "encoder", "pool", "weights", "size", "seed")  # the same encoder, weights and resolution in all rows
_TIOUS = (0.3, 0.4, 0.5, 0.6, 0.7)
_NO_PATHS = {"videos": ["-"], "annotations": "-", "out": "-"}  # the settings of a run want some


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A comparison.

    Args:
        file: it was read from.
        rows: in the order of the table.
        seeds: of all that is trained after the start weights.
        videos, annotations: None if they are stitched.
        clips: trimmed clips, or None.
        stitch: how videos are made; None if they are given.
        synthetic: whether they are made without clips.
        start: how the start weights are trained; None if [extract] names them.
        extract: how snippets are taken.
        tasks: settings of the encoders that are trained, by the row's encoder; without weights, size and seed.
        equal_to: whose operations longer pretraining takes.
        end_to_end: settings of end-to-end training; without weights.
        joint_train: settings of the head that is trained with the encoder.
        cells: settings of what follows the features, as in the file of an ablation.
    """

    file: Path
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    videos: Path | None
    annotations: Path | None
    clips: Path | None
    stitch: StitchConfig | None
    synthetic: bool
    start: PretrainConfig | None
    extract: ExtractConfig
    tasks: Mapping[str, PretrainConfig]
    equal_to: str
    end_to_end: EndToEndConfig
    joint_train: TrainConfig
    cells: Mapping[str, Any]


def read_plan(file: Path, given: CompareConfig, *, on_old: OnOld | None = None) -> Plan:
    """Return the comparison in `file`.

    Args:
        file: TOML, as described above.
        given: the command line's options, which override the file.
        on_old: called with each old name of an option in the file, and the new one.

    Raises:
        PipelineError: the file is absent or not TOML, or an entry is unknown or not accepted.
    """
    values = read_toml(file)
    if unknown := sorted(set(values) - {*_DATA, *_TABLES, "seeds", "rows"}):
        accepted = ", ".join([*_DATA, "seeds", "rows", *_TABLES])
        raise PipelineError(f"{file}: unknown entries {', '.join(unknown)}; accepted are {accepted}")
    for name in _TABLES:
        if not isinstance(values.get(name, {}), dict):
            raise PipelineError(f"{file}: {name} must be a table of settings, got {values[name]!r:.40}")
    data = {name: getattr(given, name) or (Path(str(values[name])) if name in values else None) for name in _DATA}
    stitch_values = dict(values.get("stitch", {}))
    synthetic = stitch_values.pop("synthetic", False)
    stitch = settings_from(stitch_values, StitchConfig, file) if "stitch" in values else None
    _check_data(file, data, stitch, synthetic=synthetic)
    start = _start(file, values, on_old) if START in values else None
    _check_start(file, start, stitch)
    cells, extract = _cells(file, values, start, on_old)
    end_to_end, joint_train = _end_to_end(file, values.get(END_TO_END, {}), cells, extract)
    longer = dict(values.get(LONGER, {}))
    equal_to = longer.pop("equal_to", "tsp")
    others = (*TASKS[:-1], END_TO_END)
    if equal_to not in others:
        raise PipelineError(f"{file}: longer.equal_to must be one of {', '.join(others)}, got {equal_to!r:.40}")
    return Plan(
        file=file,
        rows=_rows(file, given.rows or values.get("rows"), values, has_clips=data["clips"] is not None),
        seeds=_seeds(file, values.get("seeds", [0, 1, 2])),
        **data,
        stitch=stitch,
        synthetic=synthetic,
        start=start,
        extract=extract,
        tasks=_tasks(file, {**values, LONGER: longer}, extract, on_old),
        equal_to=equal_to,
        end_to_end=end_to_end,
        joint_train=joint_train,
        cells=cells,
    )


def _check_data(file: Path, data: Mapping[str, Path | None], stitch: StitchConfig | None, *, synthetic: bool) -> None:
    if stitch is None:
        for name in ("videos", "annotations"):
            if data[name] is None:
                raise PipelineError(f"{file} names no {name}; add {name} = PATH, --{name} PATH, or a table [stitch]")
    elif data["videos"] or data["annotations"]:
        raise PipelineError(f"{file}: [stitch] makes videos and annotations; leave them out, or leave out [stitch]")
    elif not synthetic and data["clips"] is None:
        raise PipelineError(f"{file}: [stitch] needs clips; add clips = FOLDER, give --clips, or add synthetic = true")
    for name, path in data.items():
        if path is not None and not path.exists():
            raise PipelineError(f"{name}: there is no {path}")


def _start(file: Path, values: Mapping[str, Any], on_old: OnOld | None) -> PretrainConfig:
    start = settings_from(_current_names(file, START, values, on_old), PretrainConfig, file)
    return replace(start, size=start.side)  # its identity has the size that it stands for


def _check_start(file: Path, start: PretrainConfig | None, stitch: StitchConfig | None) -> None:
    """Refuse start weights that have seen the clips of validation videos."""
    for name in _SPLIT if start is not None and stitch is not None else ():
        here, there = getattr(stitch, name), getattr(start, name)
        if here != there:
            raise PipelineError(f"{file}: {name} must be the same in [stitch] and [start], got {here}, {there}")


def _cells(
    file: Path, values: Mapping[str, Any], start: PretrainConfig | None, on_old: OnOld | None
) -> tuple[dict[str, Any], ExtractConfig]:
    """Return the settings of the cells as values, and those of extraction."""
    try:
        cells = current_names(CellConfig, {name: values[name] for name in STAGES if name in values}, on_old)
    except (ValueError, TypeError) as error:
        raise PipelineError(f"{file}: {error}") from None
    cells["evaluate"] = {"tious": list(_TIOUS), **cells.get("evaluate", {})}
    if start is not None and (more := sorted({"encoder", "weights", "pool"} & set(cells.get("extract", {})))):
        raise PipelineError(f"{file}: [start] says which {' and '.join(more)}; leave it out of [extract]")
    extract = settings_from({"extract": cells.pop("extract", {}), **_NO_PATHS}, CellConfig, file).extract
    if extract.streams != "rgb":
        raise PipelineError(
            f"{file}: extract.streams must be rgb, got {extract.streams}: pictures alone are trained on"
        )
    settings_from({**cells, **_NO_PATHS}, CellConfig, file)  # refused now, not after hours of work
    return cells, extract if start is None else replace(extract, encoder=start.encoder, pool=start.pool)


def _end_to_end(
    file: Path, values: Mapping[str, Any], cells: Mapping[str, Any], extract: ExtractConfig
) -> tuple[EndToEndConfig, TrainConfig]:
    """Return the settings of end-to-end training: of the encoder, at the snippets of all rows, and of its head."""
    own = dict(values)
    train = {**cells.get("train", {}), **own.pop("train", {})}
    if given := sorted({*_OF_SNIPPETS, "size", "weights"} & set(own)):
        raise PipelineError(f"{file}: {', '.join(given)} must not be set in [{END_TO_END}]: it is the same in all rows")
    of_snippets = {name: getattr(extract, name) for name in _OF_SNIPPETS if getattr(extract, name) is not None}
    settings = settings_from({**own, **of_snippets}, EndToEndConfig, file)
    return settings, settings_from({"train": train, "use_sola": False, **_NO_PATHS}, CellConfig, file).train


def _tasks(
    file: Path, values: Mapping[str, Any], extract: ExtractConfig, on_old: OnOld | None
) -> dict[str, PretrainConfig]:
    """Return the settings of each encoder that is trained by `pretrain`."""
    common = _pretrain_values(file, "pretrain", values, on_old)
    given = {"encoder": extract.encoder} | ({} if extract.pool is None else {"pool": extract.pool})
    tasks: dict[str, PretrainConfig] = {}
    for key in TASKS:
        own = {**_pretrain_values(file, key, values, on_old), "task": "classify" if key == LONGER else key}
        tasks[key] = settings_from({**common, **own, **given}, PretrainConfig, file)
    return tasks


def _pretrain_values(file: Path, table: str, values: Mapping[str, Any], on_old: OnOld | None) -> dict[str, Any]:
    settings = _current_names(file, table, values, on_old)
    if given := sorted(set(_GIVEN) & set(settings)):
        raise PipelineError(f"{file}: {', '.join(given)} must not be set in [{table}]: it is the same in all rows")
    return settings


def _current_names(file: Path, table: str, values: Mapping[str, Any], on_old: OnOld | None) -> dict[str, Any]:
    """Return a table of settings of `pretrain` with their current names."""
    try:
        settings: dict[str, Any] = current_names(PretrainConfig, values.get(table, {}), on_old)
    except (ValueError, TypeError) as error:
        raise PipelineError(f"{file}: {error}") from None
    return settings


def _rows(file: Path, asked: Any, values: Mapping[str, Any], *, has_clips: bool) -> tuple[Row, ...]:
    """Return the rows that are asked for, in the order of the table; all if none is."""
    known = all_rows()
    if asked is not None and not (isinstance(asked, (list, tuple)) and asked):
        raise PipelineError(f"{file}: rows must be a list of one or more rows, got {asked!r:.40}")
    keys = {one for name in asked or known for one in (FILTERS if name == "filters" else (name,))}
    if unknown := sorted(str(key) for key in keys if key not in known):
        raise PipelineError(f"rows: there is no {', '.join(unknown)}; there are filters, {', '.join(known)}")
    published = {f"sola.{name}": value for name, value in values.get("published", {}).items()}
    rows = {key: row for key, row in known.items() if key in keys | {"standard"}}
    if "published" in rows:
        rows["published"] = replace(rows["published"], options={**rows["published"].options, **published})
    # Without clips, what learns from them learns from the segments of the videos.
    return tuple(row if has_clips or row.labels != CLASSES else replace(row, labels=SEGMENTS) for row in rows.values())


def _seeds(file: Path, seeds: Any) -> tuple[int, ...]:
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise PipelineError(f"{file}: seeds must be a list of integers >= 0, got {seeds!r:.40}")
    return tuple(dict.fromkeys(seeds))
