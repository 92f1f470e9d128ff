"""What is printed from data is plain text, whatever a file or a label is called; results are written before that."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.commandline import terminal
from pipeline.commandline.status_text import _sample
from pipeline.extraction.run_log import RunLog
from pipeline.plots.figures import literal
from pipeline.progress import progress_bar
from pipeline.report.page import _template
from pipeline.text.plain import counted, plain, plain_json
from pipeline.text.table import table_text
from tests import ROOT
from tests.stores import make_store

# A closing tag of markup, an opening one, an emoji's name, a window's title, color, the 8-bit introducer of such
# sequences, a return that overwrites the line, a line of its own, and a turn of the direction of writing.
AWKWARD = "run [/b] [red] :bomb: \x1b]0;owned\x07\x1b[31m \x9b31m \r \n \u202eabc"
SHOWN = r"run [/b] [red] :bomb: \x1b]0;owned\x07\x1b[31m \x9b31m \r \n \u202eabc"


@pytest.fixture
def command(capsys, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_info:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        assert_plain(printed.out + printed.err)
        return exit_info.value.code or 0, printed.out, printed.err

    return run


def assert_plain(text: str) -> None:
    for character in text:
        assert character in "\n\t" or (character.isprintable() and character not in "\u202e"), repr(text)


def write_truth(folder: Path, label: str, video: str = "a") -> tuple[Path, Path]:
    segments = [{"segment": [1, 2], "label": label}, {"segment": [3, 4], "label": "jump"}]
    truth = {"database": {video: {"subset": "validation", "duration": 9, "annotations": segments}}}
    found = {"results": {video: [{"segment": [1, 2], "label": label, "score": 0.9}]}}
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "found.json").write_text(json.dumps(found))
    return folder / "found.json", folder / "truth.json"


def test_control_characters_are_written_out_and_letters_stay():
    assert plain(AWKWARD) == SHOWN
    assert plain("Ünïcode 日本 \U0001f600 \udcff\u2028") == "Ünïcode 日本 \U0001f600 " + r"\udcff\u2028"
    assert json.loads(plain_json([AWKWARD], indent=2)) == [AWKWARD]
    assert_plain(plain_json([AWKWARD]))


def test_numbers_and_their_nouns_agree():
    assert [counted(n, "video") for n in (0, 1, 2)] == ["0 videos", "1 video", "2 videos"]
    assert counted(2, "class", "has", "have") == "2 classes have"


@pytest.mark.parametrize("label", [AWKWARD, "[other] run", "run [/b]", "[link=file:///etc]x[/link]"])
def test_evaluate_and_annotations_show_labels_as_they_are(command, tmp_path, label):
    found, truth = write_truth(tmp_path, label)
    code, out, _ = command("evaluate", found, "--annotations", truth, "--diagnose")
    assert code == 0
    assert plain(label) in out
    assert plain(label) in command("annotations", truth)[1]


def test_names_of_files_and_videos_are_plain_in_every_look_at_a_store(command, tmp_path):
    name = "a[/b]\x1b[31m\x9b\u202e"
    store = tmp_path / f"store{name}"
    make_store(store, {f"v{name}": np.ones((3, 6), np.float32)})
    for words in (
        ["verify", store],
        ["store", "ls", store],
        ["store", "ls", store, "--json"],
        ["store", "stats", store],
    ):
        code, out, _ = command(*words)
        assert code == 0
    assert json.loads(command("store", "ls", store, "--json")[1])[0]["id"] == f"v{name}"
    assert command("store", "ls", store)[1].split("\t")[0] == plain(f"v{name}")
    code, _, err = command("verify", tmp_path / f"none{name}")
    assert (code, err.count("\n")) == (2, 1)
    assert plain(f"none{name}") in err
    assert command("extract", f"--{name}")[0] == 2
    _, out, _ = command("verify", store, "--annotations", write_truth(tmp_path, AWKWARD, video=AWKWARD)[1])
    assert SHOWN in out


def test_tables_bars_pictures_logs_and_pages_show_text_as_it_is(tmp_path):
    from rich.console import Console

    table = table_text(AWKWARD, ["", AWKWARD], [[AWKWARD, "[bold]1[/bold]"]])
    assert table.count(SHOWN) == 3 and "[bold]1[/bold]" in table
    assert_plain(table)
    with (tmp_path / "bar").open("w") as file, progress_bar(Console(file=file, force_terminal=True, width=300)) as bar:
        bar.add_task(plain("[/b]"), total=1, text=plain(AWKWARD))
        bar.refresh()
    assert SHOWN in (tmp_path / "bar").read_text() and "owned\x07" not in (tmp_path / "bar").read_text()
    assert literal(AWKWARD + "$") == SHOWN + r"\$"
    log = RunLog(tmp_path / "log")
    log.write("failed", reason=AWKWARD)
    assert_plain(log.path.read_text())
    assert json.loads(log.path.read_text())["reason"] == AWKWARD
    assert SHOWN in _template().environment.from_string("{{ label }}").render(label=AWKWARD)
    assert_plain(_sample("videos", {"store": AWKWARD}, 1.0))


def test_elapsed_and_remaining_time_are_told_apart(tmp_path):
    from rich.console import Console

    with (tmp_path / "bar").open("w") as file:
        console = Console(file=file, force_terminal=True, color_system=None, width=200)
        with progress_bar(console) as bar:
            bar.add_task("fit", total=1, text="step 1")
    assert "passed 0:00:00 left -:--:--" in (tmp_path / "bar").read_text()


def test_results_are_written_before_they_are_printed(tmp_path, monkeypatch, command):
    found, truth = write_truth(tmp_path, "run")

    def fail(text: str) -> None:
        raise OSError("the terminal is gone")

    monkeypatch.setattr(terminal, "show", fail)
    monkeypatch.setattr("pipeline.commandline.commands.evaluate.show", fail)
    words = (
        "evaluate",
        found,
        "--annotations",
        truth,
        "--out",
        tmp_path / "e.json",
        "--errors-plot",
        tmp_path / "p.svg",
    )
    assert command(*words)[0] == 2
    assert json.loads((tmp_path / "e.json").read_text())["videos"] == 1
    assert (tmp_path / "p.svg").is_file()


def test_a_reader_that_goes_away_ends_nothing(tmp_path):
    make_store(tmp_path / "s", {f"v{i}": np.ones((2, 6), np.float32) for i in range(3)})
    reader, writer = os.pipe()
    os.close(reader)  # as after `| head`
    words = [sys.executable, "-m", "pipeline", "store", "ls", str(tmp_path / "s")]
    done = subprocess.run(words, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("streams", [">&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_streams_that_take_nothing_cost_neither_the_result_nor_the_exit_code(tmp_path, streams):
    if "full" in streams and not Path("/dev/full").exists():
        pytest.skip("this system has no full device")
    found, truth = write_truth(tmp_path, "run")
    words = [sys.executable, "-m", "pipeline", "evaluate", str(found), "--annotations", str(truth)]
    line = f"{shlex.join([*words, '--out', str(tmp_path / 'e.json')])} {streams}"
    # Only a shell starts a program whose streams are closed.
    done = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert json.loads((tmp_path / "e.json").read_text())["videos"] == 1


def test_a_terminal_of_another_encoding_gets_a_table_in_ascii(tmp_path):
    found, truth = write_truth(tmp_path, "rün 日本")
    words = [sys.executable, "-m", "pipeline", "evaluate", str(found), "--annotations", str(truth)]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "rün \\u65e5\\u672c" in done.stdout.decode("latin-1")
    assert b"+---" in done.stdout
