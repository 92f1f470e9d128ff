"""Options that would be ignored are refused; messages name options as they are typed."""

import re

import pytest

from pipeline.cli import main
from pipeline.commandline.app import called_as, program_version
from pipeline.commandline.launch import bound_command
from pipeline.commandline.spelling import as_typed
from pipeline.errors import PipelineError
from tests import ROOT
from tests.pipeline.commandline.test_option_forms import BASES
from tests.stores import make_store

# What has no effect


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("extract --max-attempts 5", "--max-attempts has no effect without --retry-failed"),
        ("extract --raft-weights=x --streams flow", "--raft-weights has no effect with --flow tvl1, only with raft"),
        ("extract --seed 4", "--seed has no effect with --weights kinetics400, only with random"),
        ("sola --module m --preset hacs", "--preset has no effect with --module"),
        ("sola --module=m --steps=7", "--steps has no effect with --module"),
        ("sola --steps 7 --epochs 3", "--epochs has no effect with --steps"),
        ("sola --no-predictor --predictor-hidden 3", "--predictor-hidden has no effect with --no-predictor"),
        ("sola --input-contrast 3", "--input-contrast has no effect while --input-weight is 0"),
        ("train --head gtad --head.levels 4", "--head.levels has no effect with --head.kind gtad, only with anchor_"),
        ("train --post.sigma 0.4 --post.nms hard", "--post.sigma has no effect with --post.nms hard, only with soft"),
        ("train --module.target_sharpness 8", "--module.target_sharpness has no effect with --sola frozen"),
        ("run --no-use-sola --sola-preset hacs", "--sola-preset has no effect with --no-use-sola"),
        ("run --localize.ids path", "where actions are located in features"),
        ("pretrain --background", "--background has no effect without --annotations"),
        ("pretrain --annotations a --validation-share 0.2", "no effect with --annotations and --task classify"),
        ("pretrain --annotations a --task tsp --background", "--background has no effect with --task tsp, only with"),
        ("pretrain --tsp.clips-per-row 3", "no effect with --task classify, only with tac or tsp"),
        ("pretrain --annotations a --task tac --tsp.min-gap-clips 3", "no effect with --task tac, only with tsp"),
        ("stitch --visibility 0.3", "--visibility has no effect without --synthetic"),
        ("export --to gtad --prefix v_", "--prefix has no effect with --to gtad, only with opentad or actionformer"),
    ],
)
def test_an_option_without_effect_is_refused(words, message):
    command, *more = words.split()
    base = BASES[command].replace(" --to opentad", "")
    with pytest.raises(PipelineError) as raised:
        bound_command([command, *base.split(), *more])
    assert message in str(raised.value)


def test_of_a_file_it_is_a_note_and_of_a_preset_nothing(tmp_path, capsys):
    file = tmp_path / "s.toml"
    file.write_text("[train.head]\nkind = 'gtad'\nlevels = 4\n")
    bound_command(["train", *BASES["train"].split(), "--config", str(file)])
    expected = f"note: {file}: no effect with --head.kind gtad, only with anchor_free: head.levels\n"
    assert capsys.readouterr().err == expected
    bound_command(["train", *BASES["train"].split(), "--preset", "thumos14"])
    assert capsys.readouterr().err == ""


def test_without_annotations_run_refuses_what_comes_after_the_features():
    for words in ("--preset thumos14", "--train.epochs 3", "--baseline", "--evaluate.diagnose"):
        with pytest.raises(PipelineError, match="without --annotations"):
            bound_command(["run", "--videos", "v", "--out", "o", *words.split()])


def test_where_the_input_is_a_store_nothing_is_decoded(tmp_path):
    import numpy as np

    make_store(tmp_path / "s", {"a": np.ones((3, 6), np.float32)})
    words = ["localize", str(tmp_path / "s"), "--model", "m", "--out", "d.json"]
    bound_command(words)
    with pytest.raises(PipelineError, match="--batch-size has no effect where"):
        bound_command([*words, "--batch-size=3"])


def test_a_file_without_the_commands_table_is_refused(tmp_path):
    (tmp_path / "s.toml").write_text("[trian]\nepochs = 3\n")
    with pytest.raises(PipelineError, match=r"has no table \[train\]"):
        bound_command(["train", *BASES["train"].split(), "--config", str(tmp_path / "s.toml")])


# What is said


@pytest.fixture
def error(capsys, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(words: str) -> str:
        with pytest.raises(SystemExit) as exit_info:
            main(words.split())
        assert exit_info.value.code == 2
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train s", "--annotations is missing"),
        ("train", "STORE_OR_VIDEOS is missing"),
        ("train s --annotations", "--annotations must be followed by a value"),
        ("stitch c --out o --gap-seconds 1", "--gap-seconds must be followed by 2 values"),
        ("train s --config", "--config must be followed by a value"),
        ("encoders x", "one word too many, or several: 'x'"),
        ("extract v --out o --stride-seconds=0", "--stride-seconds must be > 0, got 0.0"),
        ("extract v --out o --fps video --stride-seconds 3", "give --stride-frames, not --stride-seconds"),
        ("sola s --out o --kernel-sizes 4 1 1", "--kernel-sizes must be odd"),
        ("run --videos v --out o --annotations a --train.head.levels 0", "must be >= 1, got 0"),
    ],
)
def test_messages_name_options_as_they_are_typed(error, words, message):
    said = error(words)
    assert message in said
    assert said.count("\n") == 1


def test_what_stands_in_a_file_keeps_its_spelling(error, tmp_path):
    (tmp_path / "s.toml").write_text("[extract]\nstride_seconds = 0\n")
    assert "error: stride_seconds must be > 0" in error(f"extract v --out o --config {tmp_path / 's.toml'}")


def test_names_that_several_options_share_and_parts_of_paths_stay():
    bound_command(["run", *BASES["run"].split()])
    assert as_typed("raise learning_rate") == "raise learning_rate"
    assert as_typed("raise gate_learning_rate, at /data/max_corrupt/x: use_sola=true") == (
        "raise gate_learning_rate, at /data/max_corrupt/x: --use-sola=true"
    )
    assert as_typed("train.sola=unified") == "--train.sola=unified"


def test_the_usage_line_says_how_the_program_was_called():
    assert called_as("/x/bin/sola-pipeline") == "sola-pipeline"
    assert called_as("/x/pipeline/__main__.py") == "python -m pipeline"


def test_the_version_is_that_of_the_project():
    text = (ROOT / "pyproject.toml").read_text()
    assert program_version() == re.search(r'^version = "(.+)"$', text, flags=re.MULTILINE)[1]
