"""The command line's application: what `--help` says first, and how options are read. Commands add themselves to it."""

from __future__ import annotations

from cyclopts import App, Parameter

HELP = """Raw, untrimmed videos in; located actions out.

The steps: extract (videos to features), sola (features to enhanced features), train (a head on them),
localize (videos or features to detections), evaluate (mAP). `run` does them all.

Every command takes --config FILE.toml: its table [command] holds the options, with underscores for dashes.
Exit codes: 0 all done, 1 some videos failed or something does not check, 2 bad input, 130 interrupted.
"""

# A list option takes all the words that follow it: --tious 0.3 0.4 0.5.
LISTS = Parameter(consume_multiple=True, negative_iterable=())
app = App(
    name="python -m pipeline",
    help=HELP,
    version_flags=["--version"],
    default_parameter=LISTS,
    suppress_keyboard_interrupt=False,
)
Flat = Parameter(name="*")
