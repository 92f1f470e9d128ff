"""Names of options in messages, as whoever reads them has written them: typed, or in a file of settings.

The stages know an option by its name in Python and in files (`stride_seconds`). Where it was not given in a file, a
message names it as it is typed (`--stride-seconds`).
"""

from __future__ import annotations

import re

from cyclopts import ArgumentCollection

PRESET = "preset"  # the source of what a preset gives; the others are "cli" and a file
# A name of several words, one before "=", or one that a message begins with; parts of paths are none.
_NAMES = re.compile(
    r"(?<![\w./\\-])(?:[a-z][a-z0-9]*(?:[_.][a-z0-9]+)+)(?![\w/\\-]|\.\w)"
    r"|(?<![\w./\\-])[a-z]\w*(?==)"
    r"|(?:^|(?<=error: ))[a-z]\w*(?= must | needs )"
)
_typed: dict[str, str] = {}


def remember(arguments: ArgumentCollection) -> None:
    """Take the names from a command's arguments, those apart that a file gives."""
    _typed.clear()
    shared: set[str] = set()
    for argument in arguments:
        if not argument.name.startswith("--"):
            continue
        whole = argument.name[2:].replace("-", "_")
        leaf = whole.rpartition(".")[2]
        in_file = any(token.source not in ("cli", PRESET) for token in argument.tokens)
        for name in {whole, leaf}:
            if name in _typed or name in shared:  # of several options: it stays as it is
                _typed.pop(name, None)
                shared.add(name)
            elif not in_file:
                _typed[name] = argument.name


def as_typed(message: str) -> str:
    """The message with the current command's options as they are typed."""
    return _NAMES.sub(lambda match: _typed.get(match[0], match[0]), message)
