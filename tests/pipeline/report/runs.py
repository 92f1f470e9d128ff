"""Runs and detections with known numbers, for reports."""

import json
from pathlib import Path

import numpy as np

from pipeline.annotations.detections import write_detections
from pipeline.annotations.segments import Detection
from pipeline.report.config import ReportConfig
from pipeline.report.page import write_report
from pipeline.report.run_facts import read_run
from tests import videos as make
from tests.stores import annotate, make_store

EVIL = '</script><img src=x onerror="window.hacked=1">'
QUICK = ReportConfig(tsm_videos=1, linear_evaluation=False)
BARE = ReportConfig(tsm_videos=0, linear_evaluation=False)


def report_on(run: Path, out: Path, config: ReportConfig = QUICK) -> Path:
    """Return the page of a report on a run."""
    return write_report(read_run(run, linear_evaluation=config.linear_evaluation), out, config)


def page_data(page: Path) -> dict:
    """Return what the page's scripts know from the start."""
    text = page.read_text()
    return json.loads(text[text.index('id="data">') + 10 :].partition("</script>")[0])


def video_script(page: Path, video_id: str) -> dict:
    """Return what the script of a video says."""
    entry = next(entry for entry in page_data(page)["videos"] if entry["id"] == video_id)
    text = (page.parent / entry["file"]).read_text()
    return json.loads(text.removeprefix("showVideo(").removesuffix(");\n"))


def make_run(folder: Path, *, videos: int = 4, label: str = "jump", sola: bool = True) -> Path:
    """Return the folder of a run: every segment is found with SoLa, half of them without, and a false one beside.

    Videos of even number are for validation; the file of the first alone exists.
    """
    rng = np.random.default_rng(0)
    arrays = {f"v{number:04}": rng.random((20, 3), np.float32) for number in range(videos)}
    run = folder / "run"
    store = make_store(run / "features", arrays)
    path = make.constant(folder / "film.mp4", 100, 10)
    sidecar = store.sidecar("v0000")
    store.sidecar_path("v0000").write_text(json.dumps({**sidecar, "source": {"path": str(path)}}))
    store.write_failure("broken", kind="unreadable", reason=EVIL, source={})
    if sola:
        make_store(run / "enhanced", arrays, sola={"module_sha256": "0" * 64, "settings": {}})
        (run / "enhanced" / "sola_history.json").write_text(json.dumps(HISTORY))
    subsets = ["training" if number % 2 else "validation" for number in range(videos)]
    named = {
        video_id: (subset, 10.0, [(2.0, 4.0, label), (6.0, 7.5, "sit")])
        for video_id, subset in zip(arrays, subsets, strict=True)
    }
    file = annotate(folder / "annotations.json", named)
    found = [Detection((2.0, 4.0), label, 0.9), Detection((6.0, 7.5), "sit", 0.8), Detection((0.0, 1.0), "sit", 0.3)]
    write_detections(run / "detections.json", dict.fromkeys(arrays, found))
    if sola:
        (run / "baseline" / "model").mkdir(parents=True)
        write_detections(run / "baseline" / "detections.json", dict.fromkeys(arrays, found[:1]))
        training = {
            "losses": [{"a": 2.0, "b": 1.0}, {"a": 1.0, "b": 0.5}],
            "validation_maps": [[2, 0.4]],
            "best_epoch": 2,
        }
        (run / "baseline" / "model" / "model.json").write_text(json.dumps({"training": training}))
    stages = {"extract": {"seconds": 61.0, "peak_memory_megabytes_so_far": 1234, "text": "done", "done": True}}
    settings = {"annotations": str(file), "evaluate": {"subset": "validation"}, "extract": {"encoder": EVIL}}
    (run / "run.json").write_text(json.dumps({"settings": settings, "stages": stages}))
    return run


_RECORD = {"gate": 0.01, "correction_ratio": 0.1, "spread": 0.5, "rank": 3.0, "constant_loss": 0.4, "least_loss": 0.2}
HISTORY = [{"step": step, "epoch": 0, "loss": loss, **_RECORD} for step, loss in ((1, 0.6), (10, 0.45), (20, 0.35))]


def without_annotations(run: Path) -> Path:
    """Make the run one without annotations; its report draws next to nothing."""
    record = json.loads((run / "run.json").read_text())
    del record["settings"]["annotations"]
    (run / "run.json").write_text(json.dumps(record))
    return run


def make_films(folder: Path, *, count: int = 3, seconds: int = 10) -> Path:
    """Return a folder of short videos: film0, film1, …"""
    for number in range(count):
        make.constant(folder / f"film{number}.mp4", 10 * seconds, 10)
    return folder
