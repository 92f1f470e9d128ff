"""Help: options in groups, the common ones first, an example at the end."""

from dataclasses import fields

from pipeline.commandline.app import app
from pipeline.commandline.help_groups import COMMON_OPTIONS, EXAMPLES


def test_help_teaches_every_option_of_a_stage(command):
    code, out, _ = command("extract", "--help")
    assert code == 0
    for words in ("--stride-seconds", "in seconds", "--window-frames", "--weights", "kinetics400", "--decoder"):
        assert words in out


def test_help_shows_options_in_groups_with_an_example(command):
    for words in ("extract", "sola", "train"):
        _, out, _ = command(*words.split(), "--help")
        assert out.index("─ Common ─") < out.index("─ Advanced ─") < out.index("─ All commands ─")
        assert f"Example: sola-pipeline {words}" in " ".join(out.split())
    assert "─ Cluster ─" in command("extract", "--help")[1]


def test_help_of_run_is_short_and_help_all_is_not(command):
    code, whole, _ = command("run", "--help-all")
    _, short, _ = command("run", "--help")  # what an earlier command of the process showed has no effect
    assert code == 0
    assert "--help-all shows all" in short and "--train.head.kind" in short
    for option in ("--train.head.levels", "--extract.decoder", "--sola.tsm-size"):
        assert option not in short
        assert option in whole
    assert short.count("\n") < whole.count("\n") / 2


def test_every_command_has_an_example_and_the_common_options_exist():
    names = {name for name in app if not name.startswith("-")} - {"store"}
    assert {name for name in EXAMPLES if " " not in name} == names
    for settings, options in COMMON_OPTIONS.items():
        assert set(options.split()) <= {option.name for option in fields(settings)}
