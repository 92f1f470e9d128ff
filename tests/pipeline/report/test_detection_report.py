"""The report of any detections: which videos it shows, what it says about them, and its command."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations.detections import write_detections
from pipeline.annotations.segments import Detection
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.report.config import ReportConfig
from pipeline.report.detection_facts import Given, given_of, read_given
from pipeline.report.page import write_report
from tests import videos as make
from tests.pipeline.report.runs import EVIL, make_films, page_data, video_script
from tests.stores import annotate, make_store

FOUND = [Detection((2.0, 4.0), "jump", 0.9), Detection((6.0, 7.5), "sit", 0.4)]


@pytest.fixture
def films(tmp_path) -> Path:
    return make_films(tmp_path / "films", count=2, seconds=8)


def detections(file: Path, *ids: str, found=FOUND) -> Path:
    write_detections(file, dict.fromkeys(ids, found))
    return file


def report(given: Given, out: Path, **options) -> Path:
    return write_report(read_given(given), out, ReportConfig(**options))


def test_videos_and_detections_are_enough(tmp_path, films):
    page = report(Given([detections(tmp_path / "d.json", "film0")], [films]), tmp_path / "out")
    data = page_data(page)
    assert [(e["id"], e["seconds"], e["seen"]) for e in data["videos"]] == [
        ("film0", 8.0, False),
        ("film1", 8.0, False),
    ]
    assert data["ways"] == ["d"]
    value = video_script(page, "film0")
    assert value["found"]["d"] == [[2.0, 4.0, 0, 0.9], [6.0, 7.5, 1, 0.4]]
    assert value["address"] == "../films/film0.mp4"
    text = page.read_text()
    assert "There are no annotations" in text
    assert "Verdict</h2>" not in text


def test_annotations_mark_the_training_videos_and_judge_the_others(tmp_path, films):
    truth = annotate(
        tmp_path / "a.json",
        {"v_film0": ("training", 8.0, [(2, 4, "jump")]), "film1": ("validation", 8.0, [(2, 4, "jump"), (6, 7, "sit")])},
    )
    one = detections(tmp_path / "one.json", "film0", "film1")
    two = detections(tmp_path / "two.json", "film0", "film1", found=FOUND[:1])
    facts = read_given(Given([one, two], [films], truth))
    assert [(video.id, video.seen_in_training) for video in facts.videos] == [("film1", False), ("film0", True)]
    assert facts.subset("film0") == "training"
    # tIoU of the second with its segment is 2/3: found up to 0.6 of 0.3 to 0.7, so (5 + 4) / 10; without it, half.
    averages = {way: evaluation.results["thumos"].average for way, evaluation in facts.evaluations.items()}
    assert averages == pytest.approx({"one": 0.9, "two": 0.5})
    text = write_report(facts, tmp_path / "out", ReportConfig()).read_text()
    assert "That is 40.0 ± 0.0 points more than of two" in text
    assert "1 only by one, 0 only by two" in text


def test_annotations_of_other_subsets_are_used_too(tmp_path, films):
    truth = annotate(tmp_path / "a.json", {"film0": ("test", 8.0, [(2, 4, "jump")])})
    facts = read_given(Given([detections(tmp_path / "d.json", "film0")], [films], truth))
    assert facts.evaluations["d"].subset == "testing"
    annotate(truth, {"film0": ("training", 8.0, [(2, 4, "jump")])})
    facts = read_given(Given([tmp_path / "d.json"], [films], truth))
    assert facts.evaluations["d"].subset == "all"
    assert "All annotated videos are evaluated, also those of the training" in facts.notes[0]
    annotate(truth, {"other": ("validation", 8.0, [(2, 4, "jump")])})
    facts = read_given(Given([tmp_path / "d.json"], [films], truth))
    assert facts.evaluations == {}
    assert facts.notes[0].startswith("There is no evaluation: no video of ")


def test_a_store_knows_where_its_videos_are(tmp_path, films):
    store = make_store(tmp_path / "s", {"film0": np.ones((16, 3), np.float32)})
    path = store.sidecar_path("film0")
    path.write_text(json.dumps({**json.loads(path.read_text()), "source": {"path": str(films / "film0.mp4")}}))
    (video,) = read_given(Given([detections(tmp_path / "d.json", "film0")], [tmp_path / "s"])).videos
    assert (video.path, video.seconds, video.rows) == (films / "film0.mp4", 8.0, 16)


def test_annotations_alone_are_shown_too(tmp_path, films):
    truth = annotate(tmp_path / "segments.json", {"film1": ("training", 8.0, [(2, 4, "kind 3")])})
    given = given_of(truth, [films], None, ())
    page = write_report(read_given(given), tmp_path / "out", ReportConfig(thumbnails=False))
    data = page_data(page)
    assert (data["ways"], data["classes"]) == ([], ["kind 3"])
    assert [(entry["id"], entry["annotated"]) for entry in data["videos"]] == [("film0", False), ("film1", True)]
    assert video_script(page, "film1")["truth"] == [[2.0, 4.0, 0]]
    assert not any(entry["seen"] for entry in data["videos"])
    (tmp_path / "odd.json").write_text("{}")
    with pytest.raises(PipelineError, match='no "results" in it'):
        given_of(tmp_path / "odd.json", [films], None, ())


def test_pictures_of_segments_without_labels_are_shown(tmp_path, films):
    folder = tmp_path / "found"
    for name in ("kinds/kind_1.png", "kinds/kind_10.png", "kinds/kind_2.png", "self_similarity/<b>.png", "map.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "self_similarity" / "linked.png").symlink_to("/etc/passwd")
    (folder / "segments.json").write_text("{}")
    truth = annotate(folder / "annotations.json", {"film1": ("training", 8.0, [(2, 4, "kind 1")])})
    page = write_report(
        read_given(given_of(truth, [films], None, ())), tmp_path / "out", ReportConfig(thumbnails=False)
    )
    made = {file.name: file.read_bytes().decode() for file in (tmp_path / "out" / "pictures").iterdir()}
    assert [made[f"kind-{n}.png"] for n in range(3)] == [f"kinds/kind_{n}.png" for n in (1, 2, 10)]
    assert {made["video-0.png"], made["map.png"]} == {"self_similarity/<b>.png", "map.png"} and len(made) == 5
    text = page.read_text()
    assert 'src="pictures/kind-2.png"' in text and "self-similarity of &lt;b&gt;" in text and 'href="#kinds"' in text


def test_without_videos_there_are_times_alone(tmp_path):
    page = report(Given([detections(tmp_path / "d.json", "film0", "none")]), tmp_path / "out")
    assert page_data(page)["videos"][0]["seconds"] == 7.5  # the end of the last detection
    assert "there are times, and nothing to play" in page.read_text()


def test_videos_that_are_not_given_are_counted_and_none_at_all_is_an_error(tmp_path, films):
    facts = read_given(Given([detections(tmp_path / "d.json", "film0", "gone")], [films]))
    assert facts.notes[0] == "1 video is not among the given files (gone)."
    with pytest.raises(PipelineError, match=r"none of the 1 video in .*d\.json \(gone, …\) is among --videos"):
        read_given(Given([detections(tmp_path / "d.json", "gone")], [films]))


def test_ids_that_are_paths_find_their_videos(tmp_path, films):
    file = detections(tmp_path / "d.json", "films/film0")
    assert read_given(Given([file], [tmp_path])).videos[0].path == films / "film0.mp4"


def test_a_video_that_browsers_do_not_play_is_told_or_copied(tmp_path):
    make.constant(tmp_path / "films" / "film0.avi", 20, 10, codec="mpeg4")
    given = Given([detections(tmp_path / "d.json", "film0")], [tmp_path / "films"])
    page = report(given, tmp_path / "out")
    assert "mpeg4 in avi" in video_script(page, "film0")["note"]
    assert "--playable-copies" in video_script(page, "film0")["note"]
    value = video_script(report(given, tmp_path / "out", playable_copies=True), "film0")
    assert value["copied"] and value["note"] == ""
    assert (tmp_path / "out" / value["address"]).stat().st_size > 500


def test_scores_of_other_tools_are_the_range_of_the_slider(tmp_path):
    file = tmp_path / "d.json"
    results = {"a": [{"segment": [0, 1], "label": EVIL, "score": score} for score in (-3, 12)]}
    file.write_text(json.dumps({"results": results}))
    page = report(Given([file]), tmp_path / "out")
    assert page_data(page)["score"] == {"low": -3.0, "high": 12.0, "start": -3.0}
    for written in tmp_path.glob("out/**/*.*"):
        assert b"<img src=x" not in written.read_bytes()


def code_of(*words: object) -> object:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


def test_the_command_reports_on_detections(tmp_path, films, capsys, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    file = detections(tmp_path / "found.json", "film0")
    other = detections(tmp_path / "other.json", "film1")
    assert code_of("report", file, "--videos", films, "--compare", other) == 0
    assert capsys.readouterr().out == f"open {tmp_path / 'found-report' / 'index.html'}\n"
    assert page_data(tmp_path / "found-report" / "index.html")["ways"] == ["found", "other"]
    (tmp_path / "films" / "note.txt").write_text("mine")
    assert code_of("report", file, "--out", films) == 2
    assert "exists and is not a report; choose another folder" in capsys.readouterr().err
    assert code_of("report", tmp_path, "--videos", films) == 2
    assert "are for a file of detections" in capsys.readouterr().err
