"""What is wrong with a command line, in our own words where the library's would mislead."""

from __future__ import annotations

from cyclopts import CycloptsError, MissingArgumentError, UnusedCliTokensError


def explained(error: CycloptsError) -> str:
    """Return one line that names the option and the remedy."""
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.argument.name
        typed = error.keyword or next((t.keyword for t in error.argument.tokens if t.source == "cli"), None)
        if typed is None:
            return f"{name} is missing"
        count, _ = error.argument.token_count()
        return f"{typed} must be followed by {'a value' if count == 1 else f'{count} values'}"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"one word too many, or several: {' '.join(map(repr, error.unused_tokens))}"
    return str(error).rstrip(".")
