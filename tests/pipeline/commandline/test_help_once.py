"""Help needs the arguments of a command several times, and makes them once: that is most of its time."""

import pytest

from pipeline.cli import main
from pipeline.commandline.help_groups import GroupedApp


@pytest.mark.parametrize(
    ("words", "times"),
    [(["run", "--help"], 1), (["run", "--help-all"], 2)],  # once to find --help-all, which is no option of run
)
def test_help_makes_the_arguments_of_a_command_no_more_than_it_must(words, times, monkeypatch, capsys):
    made: list[tuple[str, ...]] = []
    grouped = GroupedApp._grouped

    def counted(app, **options):
        made.append(tuple(app.name))
        return grouped(app, **options)

    monkeypatch.setattr(GroupedApp, "_grouped", counted)
    monkeypatch.setattr(GroupedApp, "_for_help", {})
    with pytest.raises(SystemExit):
        main(words)
    assert "--videos" in capsys.readouterr().out
    assert made.count(("run",)) == times
