"""The application that commands add themselves to, and how it reads paths and lists."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token

from pipeline.commandline.help_groups import COMMON, GroupedApp
from pipeline.storage.location import AnyPath, local_only, location

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DISTRIBUTION = "sola-pipeline"

HELP = """Locate actions in raw, untrimmed videos.

The steps: extract (videos to features), sola (features to enhanced features), train (a head on them),
localize (videos or features to detections), evaluate (mAP). `run` does them all.

Videos and stores may be in object storage (s3://bucket/folder, gs://bucket/folder; credentials come from the
environment).

Exit codes: 0 all done, 1 some videos failed or a check found problems, 2 bad input, 130 interrupted.
"""

# A list option takes all words that follow it: --tious 0.3 0.4 0.5.
LISTS = Parameter(consume_multiple=True, negative_iterable=())


def called_as(program: str) -> str:
    """Return the program's name for usage lines, from the path it was started by."""
    return "python -m pipeline" if Path(program).name == "__main__.py" else "sola-pipeline"


def program_version() -> str:
    """Return the version of the running code: of the checkout, or as installed."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    if project.is_file():
        about = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if about.get("name") == DISTRIBUTION:
            return str(about["version"])
    return version(DISTRIBUTION)


app = GroupedApp(
    name=called_as(sys.argv[0]),
    help=HELP,
    version=program_version,
    version_flags=["--version"],
    default_parameter=LISTS,
    group_parameters=COMMON,
    suppress_keyboard_interrupt=False,
)
Flat = Parameter(name="*")


def _to_local(_: Any, tokens: Sequence[Token]) -> Path:
    return local_only(tokens[0].value)


def _to_locals(_: Any, tokens: Sequence[Token]) -> list[Path]:
    return [local_only(token.value) for token in tokens]


# For paths that must be local: a URL would be taken for one.
Local = Annotated[Path, Parameter(converter=_to_local, accepts_keys=False)]
Locals = Annotated[list[Path], Parameter(converter=_to_locals, accepts_keys=False, consume_multiple=True)]


def _to_location(_: Any, tokens: Sequence[Token]) -> AnyPath:
    return location(tokens[0].value)


# A local path, or a URL of object storage.
Location = Annotated[AnyPath, Parameter(converter=_to_location, accepts_keys=False)]


def _to_locations(_: Any, tokens: Sequence[Token]) -> list[AnyPath]:
    return [location(token.value) for token in tokens]


# Several. By itself, the library would not call `location` for the words of a list.
Locations = Annotated[list[AnyPath], Parameter(converter=_to_locations, accepts_keys=False, consume_multiple=True)]
