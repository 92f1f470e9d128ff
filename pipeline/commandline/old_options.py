"""Old names of commands and options. They work for one release; a line on standard error names the new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from cyclopts import App, ArgumentCollection

from pipeline.commandline.terminal import note
from pipeline.errors import PipelineError
from sola.old_names import Renamed, current_names, renamed_option, retired_options

OLD_COMMANDS = {"probe": "linear-probe"}


def with_current_command(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with the current name of the command, their first word."""
    if not words or words[0] not in OLD_COMMANDS:
        return list(words)
    _tell(words[0], OLD_COMMANDS[words[0]])
    return [OLD_COMMANDS[words[0]], *words[1:]]


def with_current_names(app: App, words: Sequence[str]) -> list[str]:
    """Return the words of a command line with the current names of the command and its options."""
    words = with_current_command(words)
    _, apps, _ = app.parse_commands(words)
    if apps[-1].default_command is None:
        return list(words)
    classes = _classes_of(apps[-1].assemble_argument_collection())
    current: list[str] = []
    values: Mapping[str, str] = {}  # new values by the old ones, of the option that came last
    for word in words:
        option, equals, value = word.partition("=")
        if not option.startswith("--"):
            current.append(values.get(word, word))
            values = {}
            continue
        _refuse_retired(classes, _as_table(option[2:].replace("-", "_").split(".")), option)
        found = _renamed(classes, option[2:].replace("-", "_"))
        values = found[1].values if found else {}
        if found:
            name = "--" + found[0].replace("_", "-")
            _tell(option, name)
            word = f"{name}{equals}{values.get(value, value)}"
        current.append(word)
    return current


def table_of_command(command: str, values: Mapping[str, Any], *, file: str) -> Any:
    """Return the table that a file of settings has for a command, or for its old name; None if it has neither."""
    for old, new in OLD_COMMANDS.items():
        name = new.replace("-", "_")
        if command == name and name not in values and old in values:
            tell_old_name(file, f"[{old}]", f"[{name}]")
            return values[old]
    return values.get(command)


def table_with_current_names(table: dict[str, Any], arguments: ArgumentCollection, *, file: str) -> dict[str, Any]:
    """Return a table of a file of settings with the current names of the command's options.

    Raises:
        PipelineError: an option has its old and its new name.
    """
    current = table
    for settings in _classes_of(arguments):
        try:
            current = current_names(settings, current, lambda old, new: _tell(old, new, where=f"{file}: "))
        except ValueError as error:
            raise PipelineError(f"{file}: {error}") from None
    _refuse_retired(_classes_of(arguments), current, file)
    return current


def tell_old_name(file: str, old: str, new: str) -> None:
    """Print that a file has the old name of an option."""
    _tell(old, new, where=f"{file}: ")


def _refuse_retired(classes: Sequence[type], table: Mapping[str, Any], where: str) -> None:
    """Raise PipelineError for an option that is none any more."""
    for name in (name for settings in classes for name in retired_options(settings, table)):
        raise PipelineError(
            f"{where}: {name} is no option any more, since its other values did not help; leave it out "
            "(scripts/experiments/sola_variants.py has them)"
        )


def _as_table(name: Sequence[str]) -> dict[str, Any]:
    """Return an option, given by the parts of its dotted name, as a table of a file of settings would hold it."""
    return {name[0]: _as_table(name[1:]) if len(name) > 1 else None}


def _renamed(classes: Sequence[type], name: str) -> tuple[str, Renamed] | None:
    return next((found for settings in classes if (found := renamed_option(settings, name))), None)


def _classes_of(arguments: ArgumentCollection) -> list[type]:
    """Return the classes of settings whose options are the command's own."""
    return [one.hint for one in arguments if not one.keys and isinstance(one.hint, type) and is_dataclass(one.hint)]


def _tell(old: str, new: str, *, where: str = "") -> None:
    note(f"{where}{old} is now {new}; the old name works in this release only", as_it_is=True)
