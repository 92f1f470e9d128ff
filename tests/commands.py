"""A fixture: commands in this process."""

import pytest

from pipeline.cli import main


@pytest.fixture
def command(capsys, monkeypatch):
    """Runs a command in this process; gives its exit code, standard output and standard error."""
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the test runner keeps its own handlers

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_info:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        return exit_info.value.code or 0, printed.out, printed.err

    return run
