"""Names of options in messages, as the user wrote them: on the command line, or in a file of settings.

The stages know an option by its name in Python and in files (`stride_seconds`). If no file gives it, a message names it
as on the command line (`--stride-seconds`).
"""

from __future__ import annotations

import re

from cyclopts import ArgumentCollection

PRESET = "preset"  # the source of a preset's options; other sources are "cli" and a file
# A name of several words, one before "=", or one at the start of a message; parts of paths are no names.
_NAMES = re.compile(
    r"(?<![\w./\\-])(?:[a-z][a-z0-9]*(?:[_.][a-z0-9]+)+)(?![\w/\\-]|\.\w)"
    r"|(?<![\w./\\-])[a-z]\w*(?==)"
    r"|(?:^|(?<=error: ))[a-z]\w*(?= must | needs )"
)
_typed: dict[str, str] = {}


def remember(arguments: ArgumentCollection) -> None:
    """Take the names of a command's arguments, except those that a file gives."""
    _typed.clear()
    shared: set[str] = set()
    for argument in arguments:
        if not argument.name.startswith("--"):
            continue
        whole = argument.name[2:].replace("-", "_")
        leaf = whole.rpartition(".")[2]
        in_file = any(token.source not in ("cli", PRESET) for token in argument.tokens)
        for name in {whole, leaf}:
            if name in _typed or name in shared:  # several options have it: leave it as it is
                _typed.pop(name, None)
                shared.add(name)
            elif not in_file:
                _typed[name] = argument.name


def as_typed(message: str) -> str:
    """Return the message with the current command's options as on the command line."""
    return _NAMES.sub(lambda match: _typed.get(match[0], match[0]), message)
