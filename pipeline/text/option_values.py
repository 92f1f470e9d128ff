"""Refuse values of options that cyclopts would take for something else."""

from __future__ import annotations

from dataclasses import is_dataclass

from cyclopts import ArgumentCollection

from pipeline.errors import PipelineError


def refuse_wrong_kinds(arguments: ArgumentCollection) -> None:
    """Refuse one value for a whole table, which cyclopts gives to its first option, and 2.5 for a whole number.

    Raises:
        PipelineError: an argument has such a value.
    """
    for argument in arguments:
        for token in argument.tokens:
            if is_dataclass(argument.hint) and token.value:
                raise PipelineError(
                    f"{argument.name} is a group of options and takes no value, got {token.value:.40}; give an option "
                    f"of it, such as {argument.children[0].name}"
                )
            if argument.hint in (int, int | None) and _is_fraction(token.value):
                raise PipelineError(f"{argument.name} must be a whole number, got {token.value}")


def _is_fraction(value: str) -> bool:
    try:
        return float(value) != int(float(value))
    except (ValueError, OverflowError):  # cyclopts says what is wrong
        return False
