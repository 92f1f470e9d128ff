"""Parse the settings of a plan's file, table by table."""

from __future__ import annotations

import json
from dataclasses import MISSING, field, fields, make_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_type_hints

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Dict

from pipeline.errors import PipelineError, SolaPipelineError
from pipeline.text.option_values import refuse_wrong_kinds

Settings = TypeVar("Settings")
_DEFAULT = object()  # of a field that is not given


def settings_from(values: dict[str, Any], kind: type[Settings], source: Path) -> Settings:
    """Return settings of a class from the values of a file, by the rules and with the errors of the command line.

    Raises:
        PipelineError: a value is unknown or not accepted; the message names `source`.
    """
    all_fields = {each.name: each for each in fields(cast(Any, kind)) if each.init}
    required = {name for name, each in all_fields.items() if each.default is each.default_factory is MISSING}
    if not required <= values.keys() <= all_fields.keys():
        return _parsed(values, kind, source)  # names what is missing or unknown
    # All options take a fifth of a second. Cells differ in one table or two: so each is parsed by itself, once.
    given = {
        name: _table(cast(Any, kind), name, json.dumps(value, default=str), source) for name, value in values.items()
    }
    try:
        return kind(**{name: table for name, table in given.items() if table is not _DEFAULT})
    except SolaPipelineError as error:
        raise PipelineError(f"{source}: {error}") from None


@lru_cache(maxsize=4096)
def _table(kind: type[Any], name: str, value: str, source: Path) -> Any:
    """Return one field of the settings of a class from its value, as JSON; `_DEFAULT` for an empty table."""
    of_class = get_type_hints(kind, include_extras=True)[name]
    alone = make_dataclass("Alone", [(name, of_class, field(default=cast(Any, _DEFAULT)))], frozen=True, kw_only=True)
    alone.__module__ = __name__  # cyclopts takes classes of the standard library for plain values
    return getattr(_parsed({name: json.loads(value)}, alone, source), name)


def _parsed(values: dict[str, Any], kind: type[Settings], source: Path) -> Settings:
    checks = (Dict(values, source=str(source)), lambda app, commands, arguments: refuse_wrong_kinds(arguments))
    app = App(config=checks, default_parameter=Parameter(consume_multiple=True))

    def take(*, settings: Any = None) -> None: ...

    take.__annotations__["settings"] = Annotated[kind | None, Parameter(name="*")]
    app.default(take)
    try:
        _, bound, _ = app.parse_args([], exit_on_error=False, print_error=False)
    except (CycloptsError, SolaPipelineError) as error:
        raise PipelineError(f"{source}: {error}") from None
    return cast(Settings, bound.arguments.get("settings") or kind())
