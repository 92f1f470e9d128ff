"""`localize` skips videos that have detections, and continues after an interruption."""

import json
import os

import pytest

from pipeline.detection import locator
from pipeline.stages import localize_record as localized
from tests.pipeline.stages.test_localize import data, trained  # noqa: F401
from tests.pipeline.stages.test_stages import gray_video


@pytest.fixture
def located(data, command, monkeypatch):  # noqa: F811
    """Run the command; return its exit code, the last line that it prints, and the number of videos searched."""
    model = trained(data, "store")

    def run(source: str, *more: object, suffix: str = ".json"):
        searched, plain = [], locator.detect
        monkeypatch.setattr(locator, "detect", lambda *args, **given: searched.append(1) or plain(*args, **given))
        out = data / f"{source}.det{suffix}"
        code, text, err = command("localize", data / source, "--model", model, "--out", out, *more)
        return code, (text.strip() or err.strip()).splitlines()[-1], len(searched)

    return run


def test_finished_detections_are_left_as_they_are(data, located):  # noqa: F811
    for source in ("store", "videos"):
        out = data / f"{source}.det.json"
        code, first, searched = located(source)
        assert (code, searched, "done before" in first) == (0, 3, False)
        before = (out.stat().st_ino, out.read_bytes())
        code, again, searched = located(source)
        assert (code, searched) == (0, 0)
        assert again == f"{first}; 3 of them were done before (remove the file to do them again)"
        assert (out.stat().st_ino, out.read_bytes()) == before
        assert located(source, "--device", "cpu")[2] == 3  # other settings
        out.unlink()
        located(source)
        assert out.read_bytes() == before[1]  # equal inputs, equal bytes


def test_only_new_changed_and_failed_videos_are_done(data, located):  # noqa: F811
    located("videos")
    out = data / "videos.det.json"
    whole = json.loads(out.read_text())["results"]
    gray_video(data / "videos" / "d.mp4", 12)
    (data / "videos" / "bad.mp4").write_text("no video")
    code, _, searched = located("videos")
    assert (code, searched) == (1, 1 + 1)  # the bad one has no rows to be searched to their end
    gray_video(data / "videos" / "a.mp4", 20)
    code, _, searched = located("videos")
    assert (code, searched) == (1, 1 + 1)
    found = json.loads(out.read_text())["results"]
    assert list(found) == ["a", "b", "c", "d"]
    assert found["b"] == whole["b"]
    (data / "videos" / "d.mp4").unlink()
    (data / "videos" / "bad.mp4").unlink()
    code, _, searched = located("videos")
    assert (code, searched, list(json.loads(out.read_text())["results"])) == (0, 0, ["a", "b", "c"])
    later = out.stat().st_mtime_ns + 1
    os.utime(data / "videos" / "a.mp4", ns=(later, later))  # of the same size, written later
    assert located("videos")[2] == 1


def test_an_interrupted_run_goes_on(data, located, monkeypatch):  # noqa: F811
    located("videos")
    out = data / "videos.det.json"
    expected = out.read_bytes()
    out.unlink()
    monkeypatch.setattr(localized, "_KEEP_SECONDS", 0.0)
    plain = locator.detect
    calls = []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(locator, "detect", interrupted)
        assert located("videos")[0] == 130
    assert not out.exists()
    code, text, searched = located("videos")
    assert (code, searched, "2 of them were done before" in text) == (0, 1, True)
    assert out.read_bytes() == expected
    assert not (data / ".videos.det.json.unfinished").exists()


def test_a_file_that_says_nothing_of_its_making_is_made_anew(data, located):  # noqa: F811
    located("store")
    out = data / "store.det.json"
    content = json.loads(out.read_text())
    for extra in ({}, {**content["external_data"], "inputs": 7}, {**content["external_data"], "model": "other"}):
        out.write_text(json.dumps({**content, "external_data": extra}))
        assert located("store")[2] == 3
    out.write_text("not json")
    assert located("store")[2] == 3


def test_a_table_is_not_made_anew_either(data, located):  # noqa: F811
    located("videos")
    code, first, searched = located("videos", suffix=".csv")
    assert (code, searched) == (0, 3)
    table, record = data / "videos.det.csv", data / ".videos.det.csv.json"
    before = (table.stat().st_ino, table.read_text())
    assert before[1].startswith("video,start,end,label,score\n")
    assert record.read_bytes() == (data / "videos.det.json").read_bytes()
    code, again, searched = located("videos", suffix=".csv")
    assert (code, searched) == (0, 0)
    assert again == f"{first}; 3 of them were done before (remove the file to do them again)"
    assert (table.stat().st_ino, table.read_text()) == before
    gray_video(data / "videos" / "d.mp4", 12)
    assert located("videos", suffix=".csv")[2] == 1
    assert table.read_text().startswith(before[1])
    table.unlink()
    assert located("videos", suffix=".csv")[2] == 4


def test_a_table_of_which_the_record_was_not_written_is_made_from_what_is_known(data, located, monkeypatch):  # noqa: F811
    plain = localized.write_form

    def interrupted(*args, **kwargs):
        plain(*args, **kwargs)
        raise KeyboardInterrupt

    assert located("store", suffix=".csv")[2] == 3
    with monkeypatch.context() as patch:
        patch.setattr(localized, "write_form", interrupted)
        assert located("store", "--device", "cpu", suffix=".csv")[0] == 130
    assert not (data / ".store.det.csv.json").exists()
    assert located("store", "--device", "cpu", suffix=".csv")[2] == 0
    assert not (data / ".store.det.csv.unfinished").exists()
