"""The commands that need no labels, from raw videos to their files."""

import json

import numpy as np
import pytest

from pipeline.cli import main
from tests import ROOT
from tests.stores import make_store
from tests.videos import constant

TOY = ["--encoder", f"{ROOT / 'tests' / 'toy_encoder.py'}:toy"]
GRAY, LIGHT = 60, 200


def halves(index: int, height: int, width: int) -> np.ndarray:
    """Return a picture that is dark above and light below, the other way round from frame 60 on."""
    picture = np.full((height, width, 3), GRAY, np.uint8)
    half = slice(height // 2, None) if index < 60 else slice(None, height // 2)
    picture[half] = LIGHT
    return picture


@pytest.fixture
def videos(tmp_path):
    for name in ("a", "b c"):
        constant(tmp_path / "videos" / f"{name}.mp4", 120, 15, draw=halves)
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    return tmp_path / "videos"


def run(capsys, *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0), *capsys.readouterr()


def test_segment_videos_and_find_what_is_like_an_example(videos, tmp_path, capsys):
    out = tmp_path / "out"
    code, said, noted = run(capsys, "segment", videos, "--out", out, *TOY, "--stride-seconds", 0.5, "--workers", 1)
    assert code == 1
    assert "failed: broken: unreadable" in noted
    assert f"{out / 'annotations.json'}: 4 segments of 4.0 s on average, 2 kinds, in 2 videos, 0 failed" in said
    assert "kind 1: 2 segments in 2 videos" in said
    database = json.loads((out / "annotations.json").read_text())["database"]
    for video in database.values():  # the picture changes at 4 s; rows are half a second apart
        assert video["annotations"][0]["segment"][1] == pytest.approx(4, abs=0.5)
    assert {file.name for file in (out / "kinds").iterdir()} == {"kind_1.png", "kind_2.png"}
    assert {file.name for file in (out / "self_similarity").iterdir()} == {"a.png", "b c.png"}

    found = tmp_path / "found.json"
    code, said, _ = run(capsys, "localize", out / "features", "--like", "up=b c.mp4@5-7", "--out", found)
    assert code == 0
    assert said.splitlines()[0] == f"{found}: 2 detections in 2 videos; the best:"
    results = json.loads(found.read_text())["results"]
    for of in results.values():
        assert of[0]["label"] == "up"
        assert of[0]["segment"] == [pytest.approx(4, abs=0.5), 8.0]


def test_localize_by_example_keeps_features_beside_the_result(videos, tmp_path, capsys):
    (videos / "broken.mp4").unlink()
    words = ("localize", videos, "--like", "a.mp4@5-7", "--out", tmp_path / "found.csv", *TOY)
    code, said, _ = run(capsys, *words)
    assert code == 0
    assert f"{tmp_path / 'found.features'}: 2 videos done" in said
    assert (tmp_path / "found.csv").read_text().startswith("video,start,end,label,score\n")
    code, said, _ = run(capsys, *words, "--report", tmp_path / "report", "--min-score", 0.2, "--max-detections", 1)
    assert code == 0
    assert "2 were done before" in said
    assert ": 2 detections in 2 videos; the best:" in said
    assert (tmp_path / "report" / "index.html").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["localize", "s", "--out", "d.json"], "--like VIDEO@START-END"),
        (["localize", "s", "--out", "d.json", "--model", "m", "--like", "a@1-2"], "--model has no effect with --like"),
        (["localize", "s", "--out", "d.txt", "--like", "a@1-2"], "--out must end in .json or "),
        (["localize", "s", "--out", "d.json", "--like", "x@1-2"], "no video 'x' among the 1 given; nearest: a"),
        (
            ["localize", "s", "--out", "d.json", "--like", "a@1-2", "--video-scores", "v"],
            "--video-scores has no effect",
        ),
        (["segment", "s", "--out", "o", "--encoder", "tsn_r18"], "--encoder has no effect on features that are there"),
        (["segment", "s", "s", "--out", "o"], "give videos or one store, got 2 inputs"),
        (["segment", "s", "--out", "o", "--kinds", "0"], "kinds must be >= 1, got 0"),
        (["segment", "s", "--out", "o", "--boundary-price", "nan"], "boundary-price must be > 0, got nan"),
        (["segment", "none.mp4", "--out", "o"], "no such file or folder"),
        (["segment", "v.mp4", "--videos", "v.mp4", "--out", "o"], "videos has no effect where videos are given"),
    ],
)
def test_bad_input_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_store(tmp_path / "s", {"a": np.eye(6, dtype=np.float32)})
    constant(tmp_path / "v.mp4", 3, 10)
    code, said, noted = run(capsys, *words)
    assert (code, said) == (2, "")
    assert message in noted
    assert len(noted.splitlines()) == 1


def test_where_no_video_can_be_used_the_first_reason_is_told(tmp_path, capsys):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    code, _, noted = run(capsys, "segment", str(tmp_path / "broken.mp4"), "--out", str(tmp_path / "o"), *TOY)
    assert code == 2 and "no video could be extracted; the first: broken: unreadable" in noted
