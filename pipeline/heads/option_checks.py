"""Checks of options that may come from a file."""

from dataclasses import fields
from typing import Any

from pipeline.errors import PipelineError

_MOST = 1e6


def refuse_other_types(config: Any) -> None:
    """Refuse values of another type than the default's, as a file may hold them, and numbers beyond all use."""
    for option in fields(config):
        value, default = getattr(config, option.name), option.default
        if isinstance(default, tuple):
            fits = isinstance(value, (tuple, list)) and all(isinstance(item, (int, float)) for item in value)
        elif isinstance(default, (bool, str)):
            fits = isinstance(value, type(default))
        else:
            number = (int, float) if isinstance(default, float) else int
            fits = isinstance(value, number) and not isinstance(value, bool) and abs(value) <= _MOST
        require(fits, option.name, repr(value)[:40], f"as {type(default).__name__} and {_MOST:g} at most")


def require(holds: bool, name: str, value: Any, accepted: str) -> None:
    """Raise PipelineError if an option is not as `accepted` says."""
    if not holds:
        raise PipelineError(f"{name} must be {accepted}, got {value}")


def require_choice(value: str, name: str, choices: tuple[str, ...]) -> None:
    """Raise PipelineError if an option is none of its choices."""
    if value not in choices:
        raise PipelineError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
