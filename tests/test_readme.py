"""The README's commands and settings are those of the program."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from pipeline.commandline.app import app
from pipeline.commandline.launch import bound_command
from tests import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROGRAM = ("sola-pipeline ", "python -m pipeline ")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """The words of each command that the README shows, without the program's name."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line.removeprefix(name) for line in lines for name in PROGRAM if line.startswith(name)]


def test_the_readme_shows_every_command():
    shown = {shlex.split(line)[0] for line in commands()}
    assert shown == {name for name in app if not name.startswith("-")}


@pytest.mark.parametrize("line", commands())
def test_command_of_the_readme_is_understood(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toml = re.search(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "settings.toml").write_text(toml.group(1))
    bound_command(shlex.split(line))


def test_an_option_that_does_not_exist_is_not_understood():
    with pytest.raises(Exception, match="no-such-option"):
        bound_command(["extract", "a", "--out", "b", "--no-such-option"])


def test_settings_of_the_readme_reach_the_stages(tmp_path):
    toml = re.search(r"```toml\n(.*?)```", README, flags=re.DOTALL).group(1)
    assert tomllib.loads(toml)["extract"]["stride_frames"] == 16
    (tmp_path / "settings.toml").write_text(toml)
    _, bound = bound_command(["run", str(tmp_path / "settings.toml")])
    settings = bound.arguments["settings"]
    assert settings.videos == [Path("videos")]
    assert settings.baseline
    assert settings.extract.stride_frames == 16
    assert settings.sola.steps == 2000
    assert settings.train.epochs == 30


def test_scripts_that_the_readme_names_are_there():
    for script in re.findall(r"^ {4}(scripts/\w+)", README, flags=re.MULTILINE):
        assert (ROOT / script).is_file()
