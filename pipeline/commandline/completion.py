"""Completion of commands and options in the user's shell."""

from __future__ import annotations

from typing import Literal

from pipeline.commandline.app import DISTRIBUTION, app
from pipeline.commandline.help_groups import GroupedApp
from pipeline.commandline.terminal import show

WHERE = {
    "bash": f"~/.local/share/bash-completion/completions/{DISTRIBUTION}",
    "zsh": f"~/.zsh/completions/_{DISTRIBUTION}",
    "fish": f"~/.config/fish/completions/{DISTRIBUTION}.fish",
}


@app.meta.command(name="--completion")
def print_completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print a script that makes the shell complete commands, options and values. Its first lines say where to put it.

    Args:
        shell: Your shell.
    """
    GroupedApp.shows_all = True  # complete the options that `--help` hides too
    script = app.meta.generate_completion(prog_name=DISTRIBUTION, shell=shell)
    first, _, rest = script.partition("\n")  # zsh needs its first line where it is
    show(f"{first}\n# Put this into {WHERE[shell]}, and start a new shell.\n{rest}")
    return 0
