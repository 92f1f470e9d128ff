"""The report of a run: its content, and that no data become markup."""

import json
import shutil
from dataclasses import replace

import pytest

from pipeline.errors import PipelineError
from pipeline.plots.training_curves import draw_sola_losses
from pipeline.report.curves import read_sola_curve
from pipeline.report.page import write_report
from pipeline.report.run_facts import read_run
from pipeline.report.text import clock, duration, script_json
from pipeline.store.feature_store import FeatureStore
from tests.pipeline.report.runs import BARE, EVIL, make_run, page_data, report_on, video_script, without_annotations


def test_the_report_tells_what_was_run_and_found(whole):
    text = whole.read_text()
    assert "1 min 1 s" in text
    assert "1,234" in text
    assert "40.0 s" in text  # four videos of ten seconds
    assert len(list((whole.parent / "pictures").glob("tsm-0-*.svg"))) == 4  # before, after, change, target
    assert "weights are random" in text
    data = page_data(whole)
    # Those for validation first, then those that the head was trained on.
    assert [entry["id"] for entry in data["videos"]] == ["broken", "v0000", "v0002", "v0001", "v0003"]
    assert [entry["seen"] for entry in data["videos"]] == [False, False, False, True, True]
    assert data["videos"][0]["failure"].startswith("unreadable") and data["videos"][0]["file"] is None
    assert data["videos"][1]["truth"] == {"0": 1, "1": 1}
    assert data["videos"][1]["best"]["with SoLa"] == {"0": 0.9, "1": 0.8}
    score = data["score"]
    assert (score["low"], score["high"]) == (0, 1)
    assert 0.3 < score["start"] <= 0.8  # there all is found, and nothing else


def test_the_verdict_puts_both_ways_side_by_side(whole):
    text = whole.read_text()
    # With SoLa all is found: mAP 100; without, one of two classes: 50.
    assert "mAP with SoLa: 100.0 ± 0.0 % on 2 videos of subset validation, averaged over tIoU 0.3 to 0.7." in text
    assert "That is 50.0 ± 0.0 points more than without SoLa, on too few videos to tell." in text
    assert (
        "Of 4 annotated segments, 2 are found by both, 2 only with SoLa, 0 only without SoLa, and 0 not at all" in text
    )
    assert "Only 2 videos could be evaluated. So few rank nothing" in text
    assert text.count('class="moment"') == 2
    assert "0:06.0 to 0:07.5</button> sit, in v0000: only with SoLa" in text


def test_filters_and_published_settings_are_rows_of_the_verdict(tmp_path):
    run = make_run(tmp_path)
    for name in ("published", "filters/mean3"):
        (run / name).mkdir(parents=True)
        shutil.copy(run / "baseline" / "detections.json", run / name)
    ways = ["with SoLa", "without SoLa", "with SoLa as published", "after mean3"]
    assert list(read_run(run, linear_evaluation=False).evaluations) == ways


def test_enough_videos_are_not_warned_about(tmp_path):
    text = report_on(make_run(tmp_path, videos=20), tmp_path / "report", BARE).read_text()
    assert "rank nothing" not in text
    assert "more than twice the deviation over the videos" in text


def test_the_curves_of_training_are_shown_with_what_they_say(whole):
    text = whole.read_text()
    # From 0.4 to 0.2 the loss 0.35 has come a quarter of the way.
    assert "The loss went from 0.6000 to 0.3500 in 20 steps." in text
    assert "it came 25 %: it learned clearly more than nothing about time" in text
    assert "no interval is learned" not in text
    assert "only 4 windows an epoch from 4 videos" in text
    assert (
        "Head without SoLa: 0 training videos and 0 for validation; epoch 2 of 2 was kept, validation mAP 40.0 %"
        in text
    )
    for name in ("sola", "heads", "map"):
        assert (whole.parent / "pictures" / f"{name}.svg").read_text().startswith("<?xml")


def test_a_history_of_another_version_is_read_as_far_as_it_is_known(tmp_path):
    run = make_run(tmp_path)
    stores = [FeatureStore.open(run / name) for name in ("features", "enhanced")]
    history = run / "enhanced" / "sola_history.json"
    records = [{"step": 1, "loss": 0.5, "heldout_loss": 0.6}, {"step": 2, "loss": 0.4}]
    history.write_text(json.dumps({"records": records}))
    curve = read_sola_curve(*stores)
    assert curve.text == "The loss went from 0.5000 to 0.4000 in 2 steps."
    draw_sola_losses(curve.history)  # of what all records have
    gauge = run / "enhanced" / "sola_gauge.json"
    gauge.write_text(json.dumps({"verdict": "The fit added 3 %.", "gain_before": 0.25, "rank_after": None}))
    curve = read_sola_curve(*stores)
    assert curve.text == "The loss went from 0.5000 to 0.4000 in 2 steps. The fit added 3 %."
    assert curve.figures == (("gain before", "0.2500"),)
    for content in ("[]", "7", "{}", "no JSON"):
        history.write_text(content)
        assert read_sola_curve(*stores) is None


def test_the_times_of_a_video_stand_in_a_script_of_its_own(tmp_path):
    facts = read_run(make_run(tmp_path), linear_evaluation=False)
    page = write_report(replace(facts, evaluations={}, heads={}), tmp_path / "report", replace(BARE, max_detections=2))
    value = video_script(page, "v0000")
    assert value["truth"] == [[2.0, 4.0, 0], [6.0, 7.5, 1]]
    assert value["found"]["with SoLa"] == [[2.0, 4.0, 0, 0.9], [6.0, 7.5, 1, 0.8]]
    assert value["address"] == "../film.mp4"
    assert value["note"] == ""
    assert video_script(page, "v0002")["address"] is None


def test_thumbnails_are_kept_until_the_video_changes(tmp_path):
    run, out = without_annotations(make_run(tmp_path)), tmp_path / "report"
    strip = out / page_data(report_on(run, out, BARE))["videos"][1]["strip"]
    assert strip.read_bytes().startswith(b"\xff\xd8")
    made = strip.stat().st_mtime_ns
    report_on(run, out, BARE)
    assert strip.stat().st_mtime_ns == made
    (tmp_path / "film.mp4").touch()
    report_on(run, out, BARE)
    assert not strip.exists()
    assert page_data(report_on(run, out, replace(BARE, thumbnails=False)))["videos"][1]["strip"] == ""
    assert list((out / "media").iterdir()) == []


def test_no_name_becomes_markup(evil):
    for file in (evil, *(evil.parent / "videos").glob("*.js"), *(evil.parent / "pictures").glob("*")):
        assert "<img src=x" not in file.read_text()
    assert json.loads(script_json(EVIL + "\u2028")) == EVIL + "\u2028"
    assert "<" not in script_json(EVIL)


def test_a_report_is_made_again_over_itself_but_over_nothing_else(tmp_path):
    run = without_annotations(make_run(tmp_path, sola=False))
    report_on(run, tmp_path / "report", BARE)
    report_on(run, tmp_path / "report", BARE)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(PipelineError, match="is not a report; choose another folder"):
        report_on(run, tmp_path / "other")
    with pytest.raises(PipelineError, match=r"is not the folder of a run: it has no run\.json"):
        report_on(tmp_path / "other", tmp_path / "report")


def test_a_run_without_annotations_is_reported_too(tmp_path):
    page = report_on(without_annotations(make_run(tmp_path)), tmp_path / "report", BARE)
    assert "nothing to compare" in page.read_text()
    assert page_data(page)["score"]["start"] == 0.3  # all of the few detections


def test_annotations_that_are_gone_are_named(tmp_path):
    run = make_run(tmp_path)
    (tmp_path / "annotations.json").unlink()
    with pytest.raises(PipelineError, match=r"are no longer at .*annotations\.json"):
        report_on(run, tmp_path / "report")


@pytest.mark.parametrize(("seconds", "words"), [(1.26, "1.3 s"), (125, "2 min 5 s"), (3600 * 3 + 125, "3 h 2 min")])
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(7.46, "0:07.5"), (59.96, "1:00.0"), (3723.0, "1:02:03.0")])
def test_times_in_a_video(seconds, words):
    assert clock(seconds) == words


def test_equal_runs_give_equal_reports(whole, tmp_path):
    again = report_on(whole.parent.parent / "run", whole.parent.parent / "again")
    files = sorted(path.relative_to(whole.parent) for path in whole.parent.rglob("*") if path.is_file())
    assert len(files) > 20
    for file in files:
        assert (whole.parent / file).read_bytes() == (again.parent / file).read_bytes(), file
