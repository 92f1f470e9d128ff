"""The pages of a report in a browser, opened from disk."""

import time

import pytest

from pipeline.annotations.detections import write_detections
from pipeline.annotations.segments import Detection
from pipeline.report.config import ReportConfig
from pipeline.report.detection_facts import Given, read_given
from pipeline.report.page import write_report
from tests import videos as make
from tests.pipeline.report.runs import BARE, EVIL, make_run, report_on, without_annotations

pytestmark = pytest.mark.browser
TIME = "document.getElementById('player').currentTime"


def texts(page, rows: str = "found") -> list[str]:
    return page.locator(f".{rows} .segment").all_inner_texts()


def ready(page) -> None:
    page.wait_for_function("document.getElementById('player').readyState > 1")


def test_a_click_plays_a_bar_from_its_start_to_its_end(whole, opened):
    page = opened(whole)
    assert page.said == []
    assert page.inner_text("#video-id") == "v0000"
    ready(page)
    page.locator(".truth .segment").nth(1).click()  # from 6 to 7.5 s
    page.wait_for_function(f"{TIME} > 6.2 && !document.getElementById('player').paused")
    page.wait_for_function("document.getElementById('player').paused")
    assert 7.5 <= page.evaluate(TIME) < 8.2
    page.locator(".found .segment").nth(0).click()
    page.wait_for_function(f"{TIME} >= 2 && {TIME} < 4")
    assert page.said == []


def test_keys_play_stop_and_move(whole, opened):
    page = opened(whole)
    ready(page)
    page.keyboard.press("ArrowRight")  # the video is below the screen: the keys are the page's
    assert page.evaluate(TIME) == 0
    page.locator("#tracks").scroll_into_view_if_needed()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"Math.abs({TIME} - 1) < 0.01")
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_function(f"Math.abs({TIME} - 10) < 0.11")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press(" ")
    page.wait_for_function("!document.getElementById('player').paused")
    page.keyboard.press(" ")
    page.wait_for_function("document.getElementById('player').paused")
    page.keyboard.press("ArrowDown")  # the first bar in time: that at 2 s
    page.wait_for_function(f"{TIME} >= 2 && {TIME} < 4")
    assert page.locator(".segment[aria-current]").count() == 1
    # The space key does not click the bar that has the focus.
    page.locator(".truth .segment").nth(1).click()
    page.wait_for_function(f"{TIME} >= 6.1")
    page.keyboard.press(" ")
    page.wait_for_function("document.getElementById('player').paused")
    assert page.evaluate(TIME) > 6.05
    # In a field the keys are the field's.
    page.locator("#search").focus()
    page.keyboard.press(" ")
    assert page.input_value("#search") == " "
    assert page.evaluate("document.getElementById('player').paused")


def test_the_timeline_has_a_lane_for_each_class_with_scores(whole, opened):
    page = opened(whole)
    assert page.locator(".lane").count() == 2
    assert page.locator(".row:first-child .caption").all_inner_texts() == ["jump", "sit"]
    assert texts(page, "truth") == ["jump", "sit"]
    assert texts(page) == ["0.90", "0.80"]  # the slider begins at the score of the best F1
    colors = page.locator(".segment").evaluate_all("bars => bars.map((bar) => bar.style.background)")
    assert colors[0] == colors[1] != colors[2] == colors[3]
    page.locator("#way").select_option(label="side by side")
    assert page.locator(".lane").nth(1).locator(".caption").all_inner_texts() == ["sit", "with SoLa", "without SoLa"]


def test_filters_choose_videos_and_detections(whole, opened):
    page = opened(whole)
    assert page.locator("#list li").count() == 5
    page.locator("#score").fill("0.85")
    assert texts(page) == ["0.90"]
    page.locator("#score").fill("0")
    assert texts(page) == ["0.90", "0.80", "0.30"]
    page.locator("#class").select_option(label="sit")
    assert texts(page) == ["0.80", "0.30"]
    assert page.locator("#list li").count() == 4  # the broken one has none
    page.locator("#way").select_option(label="without SoLa")
    assert texts(page) == []
    page.locator("#class").select_option(label="all classes")
    page.locator("#search").fill("V0003")
    assert page.locator("#list li").count() == 1
    assert page.locator("#seen").is_hidden()
    page.locator("#list button").click()
    page.wait_for_function("document.getElementById('video-id').textContent === 'v0003'")
    page.wait_for_selector("#seen")  # the head was trained on it
    page.wait_for_selector("text=The place of this video is not known")
    page.locator("#search").fill("")
    page.locator("#subset").select_option(label="training")
    assert page.locator("#list li").count() == 2


def test_thumbnails_lie_along_the_timeline(whole, opened):
    page = opened(whole)
    page.wait_for_selector("#strip div div")
    strip, tracks = page.locator("#strip").bounding_box(), page.locator("#tracks").bounding_box()
    assert strip["width"] == tracks["width"]
    ready(page)
    page.locator("#strip").click(position={"x": strip["width"] / 2, "y": 5})
    page.wait_for_function(f"Math.abs({TIME} - 5) < 0.1")
    assert page.locator("#playhead").evaluate("head => parseFloat(head.style.left)") == pytest.approx(50, abs=1)
    assert page.locator("#list img").nth(0).get_attribute("loading") == "lazy"


def test_a_segment_that_one_way_alone_finds_is_played_from_the_verdict(whole, opened):
    page = opened(whole)
    page.locator("summary").first.click()
    page.locator(".moment").nth(0).click()
    page.wait_for_function(f"{TIME} > 6 && {TIME} < 7.6")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_does_not_scroll_sideways_and_markup_stays_text(evil, opened, scheme):
    page = opened(evil, width=390, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("window.hacked") is None
    assert texts(page, "truth")[0] == EVIL
    # Ink and ground differ, also in the pictures, which have no ground of their own.
    ink, ground = page.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    assert (max(map(int, ink[4:-1].split(","))) > 128) == (scheme == "dark")
    assert (max(map(int, ground[4:-1].split(","))) < 128) == (scheme == "dark")
    assert page.said == []


def test_the_axis_of_a_two_second_clip_counts_in_fractions(tmp_path, opened):
    make.constant(tmp_path / "films" / "clip.mp4", 20, 10)
    write_detections(tmp_path / "d.json", {"clip": [Detection((0.5, 1.5), "jump", 0.5)]})
    facts = read_given(Given([tmp_path / "d.json"], [tmp_path / "films"]))
    page = opened(write_report(facts, tmp_path / "out", ReportConfig()))
    labels = page.locator("#axis span").all_inner_texts()
    assert labels[:3] == ["0:00.0", "0:00.2", "0:00.4"]
    assert len(set(labels)) == len(labels)
    places = page.locator("#axis span").evaluate_all("marks => marks.map((mark) => parseFloat(mark.style.left))")
    assert places[:3] == pytest.approx([0, 10, 20])


def test_a_playable_copy_plays(tmp_path, opened):
    make.constant(tmp_path / "films" / "old.avi", 40, 10, codec="mpeg4")
    write_detections(tmp_path / "d.json", {"old": [Detection((1.0, 2.0), "jump", 0.5)]})
    facts = read_given(Given([tmp_path / "d.json"], [tmp_path / "films"]))
    page = opened(write_report(facts, tmp_path / "out", ReportConfig()))
    page.wait_for_selector("text=This browser cannot play the file")
    page = opened(write_report(facts, tmp_path / "out", ReportConfig(playable_copies=True)))
    ready(page)
    page.locator(".found .segment").click()
    page.wait_for_function(f"{TIME} > 1 && document.getElementById('player').paused")
    assert page.evaluate("document.getElementById('player').duration") == pytest.approx(4, abs=0.11)
    assert "small copy without sound" in page.inner_text("#hint")


@pytest.mark.slow
def test_a_thousand_videos_and_twenty_thousand_detections_open_within_seconds(tmp_path, opened):
    run = without_annotations(make_run(tmp_path, videos=1000))
    found = [Detection((k / 4, k / 4 + 2), "jump", k / 40) for k in range(40)]
    write_detections(run / "detections.json", {f"v{number:04}": found for number in range(500)})
    file = report_on(run, tmp_path / "report", BARE)
    start = time.monotonic()
    page = opened(file)
    assert time.monotonic() - start < 5
    assert page.inner_text("#count") == "1001 of 1001 videos"
    assert page.locator("#list li").count() == 200
    page.locator("#more").click()
    assert page.locator("#list li").count() == 400
    page.locator("#score").fill("0")
    assert "more overlap these" in page.inner_text("#hint") or page.locator(".found .segment").count() == 40
