"""What `localize` gives beyond its JSON: options at prediction, the proposed score, a table, other forms."""

import json
from pathlib import Path

import pytest

from pipeline.annotations.detections import read_detections
from pipeline.annotations.segments import Detection, Segment
from pipeline.commandline.found_table import found_table
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.metrics.best_score import best_score
from tests.pipeline.stages.test_localize import data, trained  # noqa: F401


def propose(model: Path, score: object) -> None:
    """Make the model propose a score, or none."""
    file = model / "model.json"
    value = json.loads(file.read_text())
    value.pop("best_score", None)
    if score is not None:
        value["best_score"] = {"score": score, "f1": 0.8, "precision": 0.75, "recall": 0.9}
    file.write_text(json.dumps(value))


@pytest.fixture
def located(data, command):  # noqa: F811
    """Run the command on the store, with any suffix; its code, output and errors."""
    model = trained(data, "store")

    def run(*more: object, out: str = "found.json", source: str = "store", score: object = None):
        propose(model, score)
        (data / out).unlink(missing_ok=True)
        return command("localize", data / source, "--model", model, "--out", data / out, *more)

    return run


def test_the_proposed_score_is_the_best_on_the_validation_videos(data, command):  # noqa: F811
    model = trained(data, "store")
    assert command("localize", data / "store", "--model", model, "--out", data / "all.json")[0] == 0
    found = {"c": read_detections(data / "all.json")["c"]}
    expected = best_score({"c": [Segment((0.8, 1.9), "brighter")]}, found)
    assert expected is not None
    assert vars_of(load_model(model).best_score) == pytest.approx(vars_of(expected), abs=1e-6)
    proposed = json.loads((data / "all.json").read_text())["external_data"]["proposed_score"]
    assert proposed == load_model(model).best_score.score


def vars_of(best: object) -> list[float]:
    return [getattr(best, name) for name in ("score", "f1", "precision", "recall")]


def test_training_prints_the_proposed_score(data, command):  # noqa: F811
    small = ["--epochs", 1, "--min-steps-per-epoch", 2, "--head.embed-dim", 8, "--head.levels", 2]
    words = ("train", data / "store", "--annotations", data / "annotations.json", "--out", data / "model", *small)
    _, first, _ = command(*words)
    assert "; best F1 at tIoU 0.5: " in first
    assert " or more (precision " in first
    assert command(*words)[1].endswith(first.partition(": ")[2])  # also if it was trained before


@pytest.mark.parametrize("value", [2, "high", True, None, -0.5])
def test_a_proposed_score_that_is_none_is_refused(data, value):  # noqa: F811
    model = trained(data, "store")
    propose(model, 0.5)
    text = (model / "model.json").read_text()
    (model / "model.json").write_text(text.replace('"score": 0.5', f'"score": {json.dumps(value)}'))
    with pytest.raises(PipelineError, match=r"best_score must have score from 0 to 1, got .*; train again"):
        load_model(model)


def test_options_at_prediction_come_before_those_of_the_model(data, located):  # noqa: F811
    assert located()[0] == 0
    whole = read_detections(data / "found.json")
    located("--max-detections", 2)
    assert {i: len(items) for i, items in read_detections(data / "found.json").items()} == {"a": 2, "b": 2, "c": 2}
    middle = sorted(item.score for item in whole["a"])[len(whole["a"]) // 2] - 1e-6  # written scores are rounded
    located("--min-score", middle)
    assert read_detections(data / "found.json")["a"] == [item for item in whole["a"] if item.score >= middle]
    located("--min-score", "auto", score=middle)
    assert read_detections(data / "found.json")["a"] == [item for item in whole["a"] if item.score >= middle]
    for options in (["none"], ["hard", "--nms-tiou", 0.1], ["soft", "--sigma", 0.1]):
        located("--nms", *options)
        assert read_detections(data / "found.json") != whole


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--min-score", "auto"], "--min-score=auto needs a model that knows its best score"),
        (["--min-score", "2"], "--min-score must be from 0 to 1, got 2.0"),
        (["--max-detections", "0"], "--max-detections must be >= 1, got 0"),
        (["--sigma", "0.5", "--nms", "hard"], "--sigma=0.5 has no effect with --nms=hard, only with soft"),
        (["--nms-tiou", "0.5"], "--nms-tiou=0.5 has no effect with --nms=soft, only with linear or hard"),
    ],
)
def test_options_that_make_no_sense_are_refused(located, options, message):
    code, _, err = located(*options)
    assert (code, message in err, len(err.splitlines())) == (2, True, 1)


def test_tables_hold_all_and_subtitles_what_is_worth_showing(data, located):  # noqa: F811
    located()
    found = read_detections(data / "found.json")
    count = sum(map(len, found.values()))
    located(out="found.csv")
    located(out="found.jsonl")
    assert len((data / "found.csv").read_text().splitlines()) == count + 1
    rows = [json.loads(line) for line in (data / "found.jsonl").read_text().splitlines()]
    assert [(row["video"], row["score"]) for row in rows] == [(i, d.score) for i, items in found.items() for d in items]
    best = found["a"][0].score
    located(out="found.srt", score=best)
    assert (data / "found" / "a.srt").read_text().count("-->") == 1
    assert sorted(path.name for path in (data / "found").iterdir()) == ["a.srt", "b.srt", "c.srt"]
    located(out="one.vtt", source="videos/a.mp4", score=best)
    assert (data / "one.vtt").read_text().startswith("WEBVTT\n\n00:0")


def test_a_file_of_elan_holds_what_is_worth_showing(data, located, monkeypatch):  # noqa: F811
    pympi = pytest.importorskip("pympi")
    located()
    best = read_detections(data / "found.json")["a"][0]
    assert located(out="one.eaf", source="videos/a.mp4", score=best.score)[0] == 0
    eaf = pympi.Eaf(str(data / "one.eaf"))
    (shown,) = eaf.get_annotation_data_for_tier("brighter")
    assert shown[:2] == tuple(round(1000 * bound) for bound in best.segment)
    monkeypatch.setattr("pipeline.showing.files.find_spec", lambda name: None)
    code, _, err = located(out="one.eaf")
    assert (code, "a file of ELAN needs" in err) == (2, True)


def test_other_forms_are_not_made_anew_either(data, located):  # noqa: F811
    _, first, _ = located(out="found.srt")
    _, again, _ = located(out="found.srt")
    assert again.splitlines()[-1].startswith(first.splitlines()[-1])
    assert "3 of them were done before" in again
    (data / "found" / "b.srt").unlink()
    assert "done before" not in located(out="found.srt")[1]
    assert (data / "found" / "b.srt").is_file()


def test_the_best_of_each_video_are_printed(located):
    code, out, err = located()
    title, head, *_, last = out.splitlines()
    assert (code, title) == (0, "The best 3 of each video")
    assert err.count("\n") == 0
    assert last.endswith("in 3 videos, 0 failed")
    assert [line.split()[1] for line in out.splitlines() if " brighter " in line] == [*"aaabbbccc"]
    assert "none has a score of 0.999 (the best F1" in located(score=0.999)[1]
    assert "with scores of 0.0001 or more (the best F1" in located(score=0.0001)[1]
    assert len(head) == len(out.splitlines()[3])


def test_the_table_is_aligned_and_short():
    found = {f"video{k}": [Detection((61.5, 3725.0), "a\x1b", 0.5)] * 5 for k in range(12)} | {"none": []}
    lines = found_table(found, 0.25).splitlines()
    assert lines[0] == (
        "The best 3 of each video, with scores of 0.25 or more (the best F1 on the validation videos), of 10 videos; "
        "2 more videos have detections"
    )
    assert len({len(line) for line in lines[1:]}) == 1
    rows = [line for line in lines if "video" in line][2:]
    assert len(rows) == 30
    assert r"a\x1b" in rows[0]
    assert "00:01:01.500" in rows[0]
    assert "01:02:05.000" in rows[0]
    assert found_table({"v": []}, None) == ""
