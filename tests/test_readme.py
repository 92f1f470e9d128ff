"""The README's commands and settings are those of the program."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from pipeline.cli import take_config
from pipeline.commandline.app import app
from tests import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("python -m pipeline")]


def test_the_readme_shows_every_command():
    shown = {shlex.split(line)[3] for line in commands()}
    assert shown == {name for name in app if not name.startswith("-")}


@pytest.mark.parametrize("line", commands())
def test_command_of_the_readme_is_understood(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toml = re.search(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "settings.toml").write_text(toml.group(1))
    tokens = take_config(shlex.split(line)[3:])
    app.parse_args(tokens, exit_on_error=False, print_error=False)


def test_an_option_that_does_not_exist_is_not_understood():
    with pytest.raises(Exception, match="no-such-option"):
        app.parse_args(["extract", "a", "--out", "b", "--no-such-option"], exit_on_error=False, print_error=False)


def test_settings_of_the_readme_reach_the_stages(tmp_path):
    toml = re.search(r"```toml\n(.*?)```", README, flags=re.DOTALL).group(1)
    assert tomllib.loads(toml)["extract"]["stride_frames"] == 16
    (tmp_path / "settings.toml").write_text(toml)
    _, bound, _ = app.parse_args(take_config(["run", str(tmp_path / "settings.toml")]), exit_on_error=False)
    settings = bound.arguments["settings"]
    assert settings.videos == [Path("videos")]
    assert settings.baseline
    assert settings.extract.stride_frames == 16
    assert settings.sola.steps == 2000
    assert settings.train.epochs == 30


def test_scripts_that_the_readme_names_are_there():
    for script in re.findall(r"^ {4}(scripts/\w+)", README, flags=re.MULTILINE):
        assert (ROOT / script).is_file()
