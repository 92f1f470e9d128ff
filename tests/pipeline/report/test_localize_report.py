"""`localize --report`: the detections of the moment with their videos; those of the training are marked."""

import json

from tests.pipeline.report.runs import page_data
from tests.pipeline.stages.test_localize import data, trained  # noqa: F401


def test_localize_writes_a_report_that_marks_the_training_videos(data, command):  # noqa: F811
    model = trained(data, "store")
    ids = json.loads((model / "model.json").read_text())["training"]["training_ids"]
    assert ids
    (data / "videos" / "bad.mp4").write_text("no video")
    report, out = data / "report", data / "found.csv"
    code, text, _ = command("localize", data / "videos", "--model", model, "--out", out, "--report", report)
    assert code == 1  # of the bad one
    assert f"open {report / 'index.html'}" in text
    entries = page_data(report / "index.html")["videos"]
    assert [entry["id"] for entry in entries if entry["seen"]] == sorted(ids)
    assert [entry["id"] for entry in entries if entry["failure"]] == ["bad"]
    assert [entry["seen"] for entry in entries] == sorted(entry["seen"] for entry in entries)
    # A folder that holds something else is refused before any work.
    out.unlink()
    code, _, err = command("localize", data / "videos", "--model", model, "--out", out, "--report", data)
    assert code == 2
    assert "is not a report; choose another folder" in err
    assert not out.exists()
