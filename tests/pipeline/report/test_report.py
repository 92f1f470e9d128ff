"""The report of a run: its content, that no data become markup, and that it works in a browser."""

import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations.detections import write_detections
from pipeline.annotations.segments import Detection
from pipeline.config import ReportConfig
from pipeline.errors import PipelineError
from pipeline.report.page import write_report
from pipeline.report.text import duration, script_json
from tests import videos as make
from tests.stores import annotate, make_store

EVIL = '</script><img src=x onerror="window.hacked=1">'
QUICK = ReportConfig(tsm_videos=1, linear_evaluation=False)


def make_run(folder: Path, *, videos: int = 4, label: str = "jump", sola: bool = True) -> Path:
    """Return the folder of a run with known numbers: every segment is found, with one false detection beside it."""
    rng = np.random.default_rng(0)
    arrays = {f"v{number:04}": rng.random((20, 3), np.float32) for number in range(videos)}
    run = folder / "run"
    store = make_store(run / "features", arrays)
    # One video that can be played; the others' files are gone.
    path = make.constant(folder / "film.mp4", 100, 10)
    sidecar = store.sidecar("v0000")
    store.sidecar_path("v0000").write_text(json.dumps({**sidecar, "source": {"path": str(path)}}))
    store.write_failure("broken", kind="unreadable", reason=EVIL, source={})
    if sola:
        spec = {"module_sha256": "0" * 64, "settings": {}}
        make_store(run / "enhanced", arrays, sola=spec)
    subsets = ["training" if number % 2 else "validation" for number in range(videos)]
    named = {
        video_id: (subset, 10.0, [(2.0, 4.0, label), (6.0, 7.5, "sit")])
        for video_id, subset in zip(arrays, subsets, strict=True)
    }
    file = annotate(folder / "annotations.json", named)
    found = [Detection((2.0, 4.0), label, 0.9), Detection((6.0, 7.5), "sit", 0.8), Detection((0.0, 1.0), "sit", 0.3)]
    write_detections(run / "detections.json", dict.fromkeys(arrays, found))
    if sola:
        (run / "baseline").mkdir()
        write_detections(run / "baseline" / "detections.json", dict.fromkeys(arrays, found[:1]))
    stages = {"extract": {"seconds": 61.0, "peak_memory_megabytes_so_far": 1234, "text": "done", "done": True}}
    settings = {"annotations": str(file), "evaluate": {"subset": "validation"}, "extract": {"encoder": EVIL}}
    (run / "run.json").write_text(json.dumps({"settings": settings, "stages": stages}))
    return run


def test_the_report_tells_what_was_run_and_found(tmp_path):
    page = write_report(make_run(tmp_path), tmp_path / "report", QUICK)
    text = page.read_text()
    assert "1 min 1 s" in text
    assert "1,234" in text
    assert "40.0 s" in text  # four videos of ten seconds
    assert "mAP with SoLa" in text
    # With SoLa all is found: mAP 100; without, one of two classes: 50.
    assert "<strong>100.0 %</strong>" in text
    assert "<strong>50.0 %</strong>" in text
    assert len(list((tmp_path / "report" / "pictures").glob("tsm-*.svg"))) == 1
    assert "weights are random" in text
    entries = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])["videos"]
    assert [entry["id"] for entry in entries] == ["broken", "v0000", "v0001", "v0002", "v0003"]
    assert entries[0]["failure"].startswith("unreadable") and entries[0]["file"] is None
    assert entries[1]["truth"] == {"0": 1, "1": 1}
    assert entries[1]["best"]["with SoLa"] == {"0": 0.9, "1": 0.8}


def test_the_times_of_a_video_stand_in_a_script_of_its_own(tmp_path):
    write_report(make_run(tmp_path), tmp_path / "report", ReportConfig(tsm_videos=0, max_detections=2))
    text = (tmp_path / "report" / "videos" / "2.js").read_text()
    value = json.loads(text.removeprefix("showVideo(").removesuffix(");\n"))
    assert value["truth"] == [[2.0, 4.0, 0], [6.0, 7.5, 1]]
    assert value["found"]["with SoLa"] == [[2.0, 4.0, 0, 0.9], [6.0, 7.5, 1, 0.8]]
    assert value["address"] == "../film.mp4"


def test_no_name_becomes_markup(tmp_path):
    page = write_report(make_run(tmp_path, label=EVIL), tmp_path / "report", QUICK)
    for file in (page, *(tmp_path / "report" / "videos").glob("*.js")):
        assert "<img src=x" not in file.read_text()
    assert json.loads(script_json(EVIL + "\u2028")) == EVIL + "\u2028"
    assert "<" not in script_json(EVIL)


def test_a_report_is_made_again_over_itself_but_over_nothing_else(tmp_path):
    run = make_run(tmp_path, sola=False)
    write_report(run, tmp_path / "report", QUICK)
    write_report(run, tmp_path / "report", QUICK)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(PipelineError, match="is not a report; choose another --out"):
        write_report(run, tmp_path / "other", QUICK)
    with pytest.raises(PipelineError, match=r"is not the folder of a run: it has no run\.json"):
        write_report(tmp_path / "other", tmp_path / "report", QUICK)


def test_a_run_without_annotations_is_reported_too(tmp_path):
    run = make_run(tmp_path)
    record = json.loads((run / "run.json").read_text())
    del record["settings"]["annotations"]
    (run / "run.json").write_text(json.dumps(record))
    assert "nothing to compare" in write_report(run, tmp_path / "report", QUICK).read_text()


def test_annotations_that_are_gone_are_named(tmp_path):
    run = make_run(tmp_path)
    (tmp_path / "annotations.json").unlink()
    with pytest.raises(PipelineError, match=r"are no longer at .*annotations\.json"):
        write_report(run, tmp_path / "report", QUICK)


@pytest.mark.parametrize(("seconds", "words"), [(1.26, "1.3 s"), (125, "2 min 5 s"), (3600 * 3 + 125, "3 h 2 min")])
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


@pytest.fixture(scope="module")
def browser():
    """Yield headless Chromium; skip without playwright or a browser."""
    sync_api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """Open a page and collect its console messages."""
    pages = []

    def open_page(file: Path, width: int = 1200):
        page = browser.new_page(viewport={"width": width, "height": 900})
        pages.append(page)
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(file.resolve().as_uri())
        page.wait_for_selector(".segment")
        return page

    yield open_page
    for page in pages:
        page.close()


@pytest.mark.browser
def test_a_click_on_a_segment_goes_there_in_the_video(tmp_path, opened):
    page = opened(write_report(make_run(tmp_path), tmp_path / "report", QUICK))
    assert page.said == []
    assert page.inner_text("#video-id") == "v0000"
    page.wait_for_function("document.getElementById('player').readyState > 0")
    page.locator(".truth .segment").nth(1).click()
    page.wait_for_function("Math.abs(document.getElementById('player').currentTime - 6) < 0.2")
    page.locator(".found .segment").nth(0).click()
    page.wait_for_function("Math.abs(document.getElementById('player').currentTime - 2) < 0.2")
    assert page.locator("#playhead").evaluate("head => head.style.left") == "20%"
    assert page.said == []


@pytest.mark.browser
def test_filters_choose_videos_and_detections(tmp_path, opened):
    page = opened(write_report(make_run(tmp_path), tmp_path / "report", QUICK))
    assert page.locator("#list li").count() == 5
    assert page.locator(".found .segment").count() == 3
    page.locator("#score").fill("0.85")
    assert page.locator(".found .segment").all_inner_texts() == ["jump"]
    page.locator("#score").fill("0")
    page.locator("#class").select_option(label="sit")
    assert page.locator(".found .segment").all_inner_texts() == ["sit", "sit"]
    assert page.locator("#list li").count() == 4  # the broken one has none
    page.locator("#way").select_option(label="without SoLa")
    assert page.locator(".found .segment").count() == 0
    page.locator("#class").select_option(label="all classes")
    page.locator("#search").fill("V0002")
    assert page.locator("#list li").count() == 1
    page.locator("#list button").click()
    page.wait_for_function("document.getElementById('video-id').textContent === 'v0002'")
    page.wait_for_selector("#player-note", state="hidden")
    page.locator("#search").fill("")
    page.locator("#subset").select_option(label="training")
    assert page.locator("#list li").count() == 2


@pytest.mark.browser
def test_a_narrow_screen_does_not_scroll_sideways_and_markup_stays_text(tmp_path, opened):
    page = opened(write_report(make_run(tmp_path, label=EVIL), tmp_path / "report", QUICK), width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("window.hacked") is None
    assert page.locator(".truth .segment").nth(0).inner_text() == EVIL
    assert page.said == []


@pytest.mark.browser
@pytest.mark.slow
def test_a_run_of_a_thousand_videos_opens_within_seconds(tmp_path, opened):
    file = write_report(make_run(tmp_path, videos=1000), tmp_path / "report", QUICK)
    start = time.monotonic()
    page = opened(file)
    assert time.monotonic() - start < 5
    assert page.inner_text("#count") == "1001 of 1001 videos"
    assert page.locator("#list li").count() == 200
    page.locator("#more").click()
    assert page.locator("#list li").count() == 400
