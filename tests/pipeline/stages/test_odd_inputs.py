"""Inputs that once ended with a traceback or were rounded without a word."""

from __future__ import annotations

import os

import pytest

from pipeline.storage.npy import read_npy
from tests.videos import constant


@pytest.mark.parametrize("kind", ["circle", "pipe"])
def test_a_link_in_a_circle_or_a_pipe_costs_only_itself(command, tmp_path, kind):
    constant(tmp_path / "videos" / "good.mp4", 10, 10)
    bad = tmp_path / "videos" / f"{kind}.mp4"
    if kind == "pipe":
        os.mkfifo(bad)
    else:
        bad.symlink_to(bad.name)
    own = ["--encoder", "tests/toy_encoder.py:toy", "--weights", "own", "--workers", "1"]
    for _ in range(2):
        code, _, errors = command("extract", tmp_path / "videos", "--out", tmp_path / "store", *own)
        assert code == 1, errors
    assert (tmp_path / "store" / "failures" / f"{kind}.json").is_file()
    assert (tmp_path / "store" / "features" / "good.json").is_file()


def test_what_is_odd_about_a_video_is_said(command, tmp_path):
    one = constant(tmp_path / "one.mp4", 20, 10)
    for number in range(7):
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos" / f"{number}.mp4").write_bytes(one.read_bytes() * 2)
    own = ["--encoder", "tests/toy_encoder.py:toy", "--weights", "own", "--workers", "1"]
    code, _, errors = command("extract", tmp_path / "videos", one, "--out", tmp_path / "store", *own)
    notes = [line for line in errors.splitlines() if line.startswith("note: ")]
    assert code == 0
    assert [note[:29] for note in notes[:5]] == [f"note: {number}: 2 files put together" for number in range(5)]
    assert notes[5:] == ["note: 2 more videos have such notes: see decoder.notes in the JSON files beside the features"]


@pytest.mark.parametrize("given", ["in the file", "on the command line"])
def test_a_value_for_a_whole_table_is_not_given_to_its_first_option(command, tmp_path, given):
    (tmp_path / "run.toml").write_text(
        f'videos = ["{tmp_path}"]\nout = "o"\n' + "sola = 5\n" * (given == "in the file")
    )
    more = ["--sola", "5"] if given == "on the command line" else []
    code, _, errors = command("run", tmp_path / "run.toml", *more)
    words = "--sola is a group of options and takes no value, got 5; give an option of it, such as --sola.hidden"
    assert (code, errors) == (2, f"error: {words}\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extract = 5", "extract must be a table [extract] of options, got 5"),
        ("[extract]\nbatch_size = 2.5", "batch_size must be a whole number, got 2.5"),
    ],
)
def test_a_file_of_settings_of_other_types_is_one_line(command, tmp_path, text, words):
    (tmp_path / "settings.toml").write_text(text)
    code, _, errors = command("extract", tmp_path, "--out", tmp_path / "s", "--config", tmp_path / "settings.toml")
    assert (code, len(errors.strip().splitlines())) == (2, 1), errors
    assert words in errors.replace("--batch-size", "batch_size")


def test_a_message_about_a_header_is_the_same_each_time(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,) * 400, }".ljust(117) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(Exception, match=r"not a readable \.npy file: its header is not a plain literal$"):
        read_npy(tmp_path / "a.npy", what="features")
