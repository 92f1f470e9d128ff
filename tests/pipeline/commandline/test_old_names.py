"""Old names of options and commands work for a release, with a line that names the new one."""

import pytest

from pipeline.cli import main
from pipeline.commandline.launch import bound_command
from pipeline.errors import PipelineError
from tests.pipeline.commandline.test_option_forms import BASES

OLD = [
    ("sola", "--k 1.5", "--target-sharpness 1.5"),
    ("sola", "--step 3 --start 1 --size 5", "--position-stride 3 --first-position 1 --tsm-size 5"),
    ("sola", "--comparison centred", "--normalize center"),
    ("sola", "--comparison raw", "--normalize none"),
    ("tsm", "--comparison centred", "--normalize center"),
    ("linear-probe", "--comparison centred", "--normalize center"),
    ("evaluate", "--details", "--diagnose"),
    ("evaluate", "--no-details", "--no-diagnose"),
    ("report", "--most-detections 3", "--max-detections 3"),
    ("pretrain", "--annotations a --most-segment-seconds 3", "--annotations a --max-segment-seconds 3"),
    ("stitch", "--most-action-seconds 3", "--max-action-seconds 3"),
    ("train", "--head.width 64 --head.centre-radius 2", "--head.embed-dim 64 --head.center-sample-radius 2"),
    ("train", "--head.first-range-snippets 3", "--head.regression-range 3"),
    ("train", "--head gtad --head.gtad-neighbours 2", "--head gtad --head.gtad-neighbors 2"),
    ("train", "--head.max-train-snippets 16", "--head.max-seq-len 16"),
    ("train", "--sola unified_with_loss --module.k 2", "--sola unified_with_loss --module.target-sharpness 2"),
    ("run", "--sola.k 2 --evaluate.no-details", "--sola.target-sharpness 2 --evaluate.no-diagnose"),
    ("run", "--train.head.width 64", "--train.head.embed-dim 64"),
]


def joined(words: str) -> list[str]:
    """The options with their values behind an equals sign."""
    found: list[str] = []
    for word in words.split():
        found += [word] if word.startswith("--") else []
        found[-1] += "" if word.startswith("--") else f"={word}"
    return found


@pytest.mark.parametrize(("command", "old", "new"), OLD)
def test_an_old_option_is_the_new_one_with_a_line_that_says_so(capsys, command, old, new):
    base = [command, *BASES[command].split()]
    _, expected = bound_command([*base, *new.split()])
    assert capsys.readouterr().err == ""
    for words in (old.split(), joined(old)):
        assert bound_command([*base, *words])[1] == expected
        told = capsys.readouterr().err.splitlines()
        names = [(o, n) for o, n in zip(old.split(), new.split(), strict=True) if o.startswith("--") and o != n]
        assert told == [f"note: {o} is now {n}; the old name works in this release only" for o, n in names]


def test_an_option_that_other_commands_renamed_stays_what_it_is(capsys):
    bound_command(["pretrain", "c", "--out", "o", "--size", "64"])
    bound_command(["stitch", "c", "--out", "o", "--width", "64"])
    bound_command(["tsm", "centred", "--video", "raw", "--out", "o"])
    assert capsys.readouterr().err == ""


def test_an_old_command_is_the_new_one(capsys, tmp_path):
    words = ["s", "--annotations", "a"]
    (old, *of_old), (new, *of_new) = bound_command(["probe", *words]), bound_command(["linear-probe", *words])
    assert (old.__name__, of_old) == (new.__name__, of_new)
    assert capsys.readouterr().err == "note: probe is now linear-probe; the old name works in this release only\n"
    for table in ("probe", "linear_probe"):
        (tmp_path / "s.toml").write_text(f"[{table}]\nmax_videos = 7\n")
        words = ["linear-probe", "s", "--annotations", "a", "--config", str(tmp_path / "s.toml")]
        assert bound_command(words)[1].arguments["settings"].max_videos == 7
        assert ("is now" in capsys.readouterr().err) is (table == "probe")


def test_old_names_in_a_file(capsys, tmp_path):
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    inputs = 'videos = ["v"]\nannotations = "a"\nout = "o"\n'
    old.write_text(
        f'{inputs}[sola]\nk = 2.0\ncomparison = "centred"\n[train.head]\nwidth = 64\n[evaluate]\ndetails = true\n'
    )
    new.write_text(
        f'{inputs}[sola]\ntarget_sharpness = 2.0\nnormalize = "center"\n[train.head]\nembed_dim = 64\n'
        "[evaluate]\ndiagnose = true\n"
    )
    given = bound_command(["run", str(new)])[1].arguments["settings"]
    assert capsys.readouterr().err == ""
    assert bound_command(["run", str(old)])[1].arguments["settings"] == given
    told = capsys.readouterr().err.splitlines()
    assert told[0] == f"note: {old}: sola.k is now sola.target_sharpness; the old name works in this release only"
    assert len(told) == 4
    assert bound_command(["sola", "s", "--out", "o", "--config", str(old)])[1].arguments["settings"] == given.sola
    assert len(capsys.readouterr().err.splitlines()) == 2
    old.write_text("[sola]\nk = 2.0\ntarget_sharpness = 2.0\n")
    with pytest.raises(PipelineError, match="give target_sharpness or k, its old name, not both"):
        bound_command(["sola", "s", "--out", "o", "--config", str(old)])


def test_a_word_wins_over_an_old_name_in_a_file(tmp_path):
    (tmp_path / "s.toml").write_text("[sola]\nk = 2.0\n")
    words = ["sola", "s", "--out", "o", "--config", str(tmp_path / "s.toml"), "--k=5"]
    assert bound_command(words)[1].arguments["settings"].target_sharpness == 5


def test_an_error_names_the_new_option(capsys, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit):
        main(["sola", "s", "--out", "o", "--k", "0"])
    assert "error: --target-sharpness must be > 0" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--help", "--help-all"])
def test_the_help_of_an_old_command_is_that_of_the_new_one(capsys, flag):
    shown = []
    for command in ("probe", "linear-probe"):
        with pytest.raises(SystemExit) as ended:
            main([command, flag])
        assert not ended.value.code
        shown.append(capsys.readouterr())
    assert shown[0].out == shown[1].out and "linear-probe" in shown[0].out
    assert shown[0].err == "note: probe is now linear-probe; the old name works in this release only\n"
