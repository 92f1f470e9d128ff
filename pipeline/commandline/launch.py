"""Parse a command line into a command and its arguments.

First the options that all commands have, then those of the command, then a file of settings and presets.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from pipeline.commandline import commands, completion  # noqa: F401  (completion adds itself to the app)
from pipeline.commandline.app import DISTRIBUTION, app
from pipeline.commandline.help_groups import GroupedApp, add_examples
from pipeline.commandline.next_steps import tell_next_step
from pipeline.commandline.old_options import with_current_command, with_current_names
from pipeline.commandline.option_sources import OptionSources
from pipeline.errors import SOME_FAILED
from pipeline.storage.local import FOLDER_VARIABLE, GIGABYTES_VARIABLE, cache_bytes

# The commands add themselves to the app, in this order. Nothing heavy is imported before one runs.
COMMANDS = (
    "jobs show extract sola train localize evaluate run report store verify tsm linear_probe ablate compare clips "
    "encoders annotations exchange without_labels"
)
for _name in COMMANDS.split():
    import_module(f"{commands.__name__}.{_name}")
Bound = tuple[Callable[..., Any], inspect.BoundArguments]

app.meta.group_parameters = Group("All commands", sort_key=99)


@app.meta.default
def _launch(
    *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Path | None = None,
    cache_folder: str | None = None,
    cache_gigabytes: str | None = None,
    help_all: Annotated[bool, Parameter(negative=())] = False,
) -> Bound:
    """Read the options that all commands have.

    Args:
        config: A TOML file with a table [command] of options, with underscores for dashes. The command line
            overrides it.
        cache_folder: Folder for local copies of files in object storage. Default: ~/.cache/sola-pipeline.
        cache_gigabytes: Maximum size of these copies in gigabytes, for videos and for arrays each. Default: 20.
        help_all: Show all options of the command.
    """
    if help_all:
        _prepare_help(asked=True, shows_all=True)
        shown: Bound = app.meta.parse_args([*words, "--help"], exit_on_error=False, print_error=False)[:2]
        return shown
    # In the environment, so that processes that this one starts have them as well.
    for variable, value in ((FOLDER_VARIABLE, cache_folder), (GIGABYTES_VARIABLE, cache_gigabytes)):
        if value is not None:
            os.environ[variable] = value
    cache_bytes()  # refuse a wrong number at once
    app.config = (OptionSources(config),)
    words = tuple(with_current_names(app, words))
    command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    names, apps, _ = app.parse_commands(words)
    return (_with_next_step(command, " ".join(names), bound) if command is apps[-1].default_command else command), bound


def _prepare_help(*, asked: bool, shows_all: bool) -> None:
    GroupedApp.shows_help, GroupedApp.shows_all = asked, shows_all
    add_examples(app, DISTRIBUTION)


def _with_next_step(command: Callable[..., int], name: str, bound: inspect.BoundArguments) -> Callable[..., int]:
    """Return the command, followed by a line that says what comes next, unless it failed as a whole."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> int:
        code = command(*args, **kwargs)
        if code in (0, SOME_FAILED):
            bound.apply_defaults()
            tell_next_step(name, bound.arguments, sys.argv[0])
        return code

    return run


def bound_command(words: Sequence[str]) -> Bound:
    """Return the command that the words name, and its arguments.

    Raises:
        CycloptsError, PipelineError, SolaError: the words do not make a command.
    """
    _prepare_help(asked="--help" in words, shows_all=False)
    launch, given, _ = app.meta.parse_args(with_current_command(words), exit_on_error=False, print_error=False)
    if launch is not _launch:  # --help, --version
        return launch, given
    result: Bound = launch(*given.args, **given.kwargs)
    return result
