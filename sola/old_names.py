"""Options that were renamed or retired after version 0.1.

A settings class lists its renamed options in `RENAMED`, those that are no options any more in `RETIRED`, and those that
0.1 did not have in `ADDED`. Users may give the old names for one release. Files keep the names and values of 0.1, with
the retired options, and leave out an added option at its default. So their bytes, and the hashes that tell what is
done, stay as they were. Where the new default does something else, `AS_BEFORE` has the value that does what 0.1 did,
and files leave that one out. Readers accept both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from typing import Any, get_args, get_type_hints

OnOld = Callable[[str, str], None]


@dataclass(frozen=True)
class Renamed:
    """The new name of an option, and its new values by the old ones, where those changed too."""

    name: str
    values: Mapping[str, str] = field(default_factory=dict)

    def value(self, old: Any) -> Any:
        """Return the new value for an old one; of a list, of each entry."""
        if isinstance(old, list) and self.values:
            return [self.value(one) for one in old]
        return self.values.get(old, old) if isinstance(old, str) else old

    def old_value(self, new: Any) -> Any:
        """Return the value that 0.1 had for a new one."""
        return next((old for old, value in self.values.items() if value == new), new)


@dataclass(frozen=True)
class Retired:
    """An option that is none any more: its only value, and the option before which files keep it."""

    value: Any
    before: str

    def is_kept(self, value: Any) -> bool:
        """Return whether a file asks for the only value."""
        return value == (list(self.value) if isinstance(value, list) else self.value)


def renamed_option(settings: type, old: str) -> tuple[str, Renamed] | None:
    """Return the new dotted name of an option, and how its last part was renamed; None if no part of it was.

    Args:
        settings: the class of settings.
        old: a dotted name as files spell it, such as `train.head.width`; a flag may begin with `no_`.
    """
    new, how, of = [], Renamed(""), settings
    for part in old.split("."):
        prefix = "no_" if part.startswith("no_") else ""
        how = _renamed(of).get(part.removeprefix(prefix), Renamed(part.removeprefix(prefix)))
        new.append(prefix + how.name)
        of = _nested(of).get(how.name, object)
    name = ".".join(new)
    return None if name == old else (name, how)


def current_names(settings: type, values: Mapping[str, Any], on_old: OnOld | None = None, *, of: str = "") -> Any:
    """Return settings of a file with the current names and values; names that are unknown stay.

    A retired option is left out if it has its only value, else it stays, as an unknown one.

    Args:
        settings: the class of settings.
        values: by name; a mapping for each group of settings.
        on_old: called with each old dotted name and the new one.
        of: dotted name of the group that the values are of, with a dot at its end.

    Raises:
        ValueError: an option has its old and its new name.
        TypeError: the values have no names.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"settings must have names, got {values!r:.60}")
    now: dict[str, Any] = {}
    retired = getattr(settings, "RETIRED", {})
    for name, value in values.items():
        if name in retired and retired[name].is_kept(value):
            continue
        how = _renamed(settings).get(name.replace("-", "_"), Renamed(name))
        if how.name != name:
            if how.name in values:
                raise ValueError(f"give {of}{how.name} or {of}{name}, its old name, not both")
            if on_old is not None:
                on_old(of + name, of + how.name)
        group = _nested(settings).get(how.name.replace("-", "_"))
        if group is not None and isinstance(value, Mapping):
            now[how.name] = current_names(group, value, on_old, of=f"{of}{how.name}.")
        else:
            now[how.name] = how.value(value)
    return now


def retired_options(settings: type, values: Mapping[str, Any], *, of: str = "") -> list[str]:
    """Return the dotted names of retired options among settings of a file; `values` are from `current_names`."""
    found = [of + name for name in values if name in getattr(settings, "RETIRED", {})]
    for name, group in _nested(settings).items():
        if isinstance(values.get(name), Mapping):
            found += retired_options(group, values[name], of=f"{of}{name}.")
    return found


def stored_settings(config: Any) -> dict[str, Any]:
    """Return settings with the names and values that files have: those of version 0.1, in the order of the fields.

    Args:
        config: a dataclass of settings; groups inside it become mappings.
    """
    old_names = {how.name: (old, how) for old, how in _renamed(type(config)).items()}
    retired = {how.before: (old, how.value) for old, how in getattr(config, "RETIRED", {}).items()}
    stored: dict[str, Any] = {}
    for option in fields(config):
        stored.update([retired[option.name]] if option.name in retired else [])
        name, how = old_names.get(option.name, (option.name, Renamed(option.name)))
        value = getattr(config, option.name)
        if option.name in getattr(config, "ADDED", ()) and value == option.default:
            continue
        as_before = getattr(config, "AS_BEFORE", {})
        if option.name in as_before and value == as_before[option.name]:
            continue
        stored[name] = stored_settings(value) if is_dataclass(value) else how.old_value(value)
    return stored


def stored_name(settings: type, name: str, value: Any) -> tuple[str, Any]:
    """Return the dotted name and the value that version 0.1 had for an option."""
    old, of = [], settings
    for part in name.split("."):
        how = next(((was, how) for was, how in _renamed(of).items() if how.name == part), None)
        old.append(how[0] if how else part)
        value = how[1].old_value(value) if how else value
        of = _nested(of).get(part, object)
    return ".".join(old), value


def _renamed(settings: type) -> Mapping[str, Renamed]:
    return getattr(settings, "RENAMED", {})


@lru_cache
def _nested(settings: type) -> dict[str, type]:
    """Return the classes of the groups of settings inside a class, by name."""
    if not is_dataclass(settings):
        return {}
    hints = get_type_hints(settings)
    classes = {name: [one for one in (hint, *get_args(hint)) if is_dataclass(one)] for name, hint in hints.items()}
    return {name: found[0] for name, found in classes.items() if found and isinstance(found[0], type)}
