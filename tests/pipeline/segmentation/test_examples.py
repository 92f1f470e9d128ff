"""Marked stretches as they are typed."""

import pytest

from pipeline.errors import PipelineError
from pipeline.segmentation.examples import read_example

IDS = ["run", "a=b", "day 2-3@home", "sub/run2", "no.suffix"]


@pytest.mark.parametrize(
    ("text", "label", "video", "segment"),
    [
        ("run.mp4@12.5-14.0", "like run.mp4@12.5-14.0", "run", (12.5, 14.0)),
        ("jump=run@1-2", "jump", "run", (1, 2)),
        ("jump=clips/run.MP4@0:59.5-1:01", "jump", "run", (59.5, 61)),
        ("run@1:00:00-1:00:00.5", "like run@1:00:00-1:00:00.5", "run", (3600, 3600.5)),
        ("a=b.mp4@1-2", "like a=b.mp4@1-2", "a=b", (1, 2)),
        ("x=a=b@1-2", "x", "a=b", (1, 2)),
        ("day 2-3@home.mp4@1-2", "like day 2-3@home.mp4@1-2", "day 2-3@home", (1, 2)),
        ("sub/run2.avi@1-2", "like sub/run2.avi@1-2", "sub/run2", (1, 2)),
        ("no.suffix@1-2", "like no.suffix@1-2", "no.suffix", (1, 2)),
    ],
)
def test_an_example_names_label_video_and_times(text, label, video, segment):
    found = read_example(text, IDS)
    assert (found.label, found.video_id) == (label, video)
    assert found.segment == pytest.approx(segment)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run.mp4", "VIDEO@START-END"),
        ("run@1", "VIDEO@START-END"),
        ("run@2-1", "must end after it starts"),
        ("run@1-1", "must end after it starts"),
        ("run@1.2.3-4", "seconds, mm:ss or hh:mm:ss, got '1.2.3'"),
        ("rum.mp4@1-2", "no video 'rum' among the 5 given; nearest: run"),
    ],
)
def test_what_is_wrong_with_an_example_is_said(text, message):
    with pytest.raises(PipelineError, match="like") as error:
        read_example(text, IDS)
    assert message in str(error.value)
