"""Each file of constraints has a version of everything that the project asks for, and one that it accepts."""

import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILES = sorted((ROOT / "constraints").glob("*.txt"))
PROJECT = tomllib.loads(Path(ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WANTED = [Requirement(text) for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_the_version_is_one_that_the_project_accepts(file: Path, wanted: Requirement) -> None:
    version = file.stem.removeprefix("python")
    if wanted.marker is not None and not wanted.marker.evaluate({"python_version": version}):
        return  # not asked for by this Python
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    versions = dict(line.split("==") for line in lines)
    assert versions[canonicalize_name(wanted.name)] in wanted.specifier
