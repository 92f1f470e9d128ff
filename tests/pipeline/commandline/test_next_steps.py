"""After a command comes a line that names the next one, which the program understands; and completion of all of it."""

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.commandline.app import app
from pipeline.commandline.completion import WHERE
from pipeline.commandline.launch import bound_command
from pipeline.commandline.next_steps import NEXT_STEPS, next_step, tell_next_step
from tests.pipeline.commandline.test_cli import videos  # noqa: F401


@dataclass(frozen=True)
class Settings:
    out: Path = Path("my results")
    encoder: str = "tsn_r18"


GIVEN = {
    "out": "out.json",
    "videos_or_store": [Path("a b.mp4"), Path("c.mp4")],
    "detections": "found.json",
    "store": "features/",
    "settings": Settings(),  # what is given beside the settings comes first
}


@pytest.mark.parametrize("name", NEXT_STEPS)
def test_every_next_step_is_a_command_that_is_understood(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    part = app
    for word in name.split():
        part = part[word]
    line = next_step(name, GIVEN, "/bin/sola-pipeline")
    assert line.startswith("sola-pipeline ")
    bound_command(shlex.split(line)[1:])


def test_what_was_given_is_in_the_line():
    program = "pipeline/__main__.py"
    line = next_step("localize", GIVEN, program)
    assert line == "python -m pipeline show out.json --as clips --videos 'a b.mp4' c.mp4"
    assert next_step("run", {"settings": Settings()}, "") == "sola-pipeline report 'my results'"
    assert next_step("localize", {**GIVEN, "out": "found.csv"}, program) == ""
    assert next_step("extract", {"out": "x", "dry_run": True}, program) == ""
    assert next_step("verify", {}, program) == ""


def test_the_line_is_the_last_on_standard_error(command, videos, tmp_path):  # noqa: F811
    (tmp_path / "videos" / "bad.mp4").write_text("no video")
    code, out, err = command("extract", videos, "--out", tmp_path / "store")
    assert (code, "next:" in out) == (1, False)
    assert err.splitlines()[-1].endswith(f" sola {tmp_path / 'store'} --out enhanced/")
    assert "next:" not in command("extract", videos, "--out", tmp_path / "store", "--dry-run")[2]
    assert "next:" not in command("extract", "--help")[2]
    assert "next:" not in command("extract", tmp_path / "none", "--out", tmp_path / "store")[2]


def test_nothing_follows_if_all_videos_failed(command, tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    code, _, err = command("extract", tmp_path / "bad.mp4", "--out", tmp_path / "store", "--weights", "random")
    assert (code, "bad: unreadable" in err, "next:" in err) == (1, True, False), err


def test_other_processes_of_a_job_are_silent(command, monkeypatch):
    assert "next:" in command("encoders")[2]
    monkeypatch.setenv("RANK", "1")
    assert command("encoders")[2] == ""


COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_sola_pipeline
echo "${COMPREPLY[*]}"
"""


def test_bash_completes_commands_options_and_values(command, tmp_path):
    code, script, _ = command("--completion", "bash")
    assert (code, WHERE["bash"] in script.splitlines()[1]) == (0, True)
    (tmp_path / "script").write_text(script)

    def completed(*words: str) -> str:
        given = ["bash", "-c", COMPLETE, "-", str(tmp_path / "script"), "sola-pipeline", *words]
        return subprocess.run(given, capture_output=True, text=True, check=True).stdout.strip()

    assert completed("lo") == "localize"
    assert completed("localize", "--min-s") == "--min-score"
    assert completed("show", "--as", "c") == "csv chapters clips"
    assert completed("run", "--train.head.ki") == "--train.head.kind"
    assert completed("store", "m") == "merge"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_their_script(command, shell):
    code, script, _ = command("--completion", shell)
    assert code == 0
    assert "min-score" in script
    assert script.startswith("#compdef sola-pipeline" if shell == "zsh" else "# Fish")


def test_a_script_that_goes_on_by_itself_gets_no_next_step(monkeypatch, capsys):
    tell_next_step("run", GIVEN, "sola-pipeline")
    assert capsys.readouterr().err == "next: sola-pipeline report out.json\n"
    monkeypatch.setenv("SOLA_IN_SCRIPT", "1")
    tell_next_step("run", GIVEN, "sola-pipeline")
    assert capsys.readouterr().err == ""
