"""Annotated segments as clips: the list, their frames, and an encoder that learns from them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations import VideoAnnotations
from pipeline.annotations.segments import Segment
from pipeline.errors import PipelineError
from pipeline.pretraining.annotated_segments import gaps, segment_clips, span_frames
from pipeline.pretraining.clips import Whole, clip_frames
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.data import cache_clips
from pipeline.stages.pretrain import pretrain, start_of
from pipeline.video.errors import VideoError
from pipeline.video.pyav_backend import TimedFrame
from tests import videos as make
from tests.pipeline.pretraining.test_pretrain import QUICK, bars
from tests.stores import annotate

FRAMES = 60  # of each video, 6 s at 10 fps


def upright_and_lying(index: int, height: int, width: int) -> np.ndarray:
    """Write a video: frames 10 to 24 show upright bars, 30 to 49 lying ones, the others a gray picture."""
    if 10 <= index < 25 or 30 <= index < 50:
        return bars(upright=index < 25)(index, height, width)
    return np.full((height, width, 3), 120, np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> tuple[Path, Path]:
    """Return five videos, the last two for validation, and their annotations."""
    folder = tmp_path_factory.mktemp("untrimmed")
    truth = {}
    for number in range(5):
        make.constant(folder / f"v{number}.mp4", FRAMES, 10, size=(48, 64), draw=upright_and_lying)
        segments = [(1.0, 2.5, "upright"), (3.0, 5.0, "lying")]
        if number == 4:
            segments.append((5.2, 5.8, "unheard of"))
        truth[f"v{number}"] = ("training" if number < 3 else "validation", 6.0, segments)
    return folder, annotate(folder / "annotations.json", truth)


@pytest.mark.parametrize("fps", [5, 10, 12.5, 30])
def test_the_frames_of_a_part_are_those_of_the_whole_video_there(tmp_path, fps):
    path = make.constant(tmp_path / "v.mp4", FRAMES, 10)
    whole = clip_frames(path, fps=fps, size=Whole(64, 64))
    spans = [(3.0, 5.0), (1.0, 2.5), (2.0, 4.1), (5.5, 99.0)]  # in any order, overlapping, beyond the end
    found = dict(span_frames(path, spans, fps=fps, size=Whole(64, 64)))
    assert sorted(found) == [0, 1, 2, 3]
    middles = (np.arange(len(whole)) + 0.5) / fps
    for place, (start, end) in enumerate(spans):
        wanted = whole[(start <= middles) & (middles < end)]
        assert [make.index_of(frame) for frame in found[place]] == [make.index_of(frame) for frame in wanted]


def test_parts_are_given_as_they_end_and_only_their_frames_are_converted(tmp_path, monkeypatch):
    path = make.constant(tmp_path / "v.mp4", FRAMES, 10)
    seen: list[int] = []
    converted: list[int] = []
    from pipeline.video.pyav_backend import shown_frames

    def counted(*args, **options):
        for number, shown in enumerate(shown_frames(*args, **options)):
            seen.append(number)
            yield TimedFrame(shown.start, shown.end, lambda n=number, s=shown: converted.append(n) or s.picture())

    monkeypatch.setattr("pipeline.pretraining.annotated_segments.shown_frames", counted)
    parts = span_frames(path, [(2.0, 2.5), (1.0, 1.3)], fps=10, size=Whole(64, 64))
    assert next(parts)[0] == 1
    assert seen[-1] == 12
    assert [place for place, _ in parts] == [0]
    assert converted == [10, 11, 12, 20, 21, 22, 23, 24]
    assert seen[-1] == 24  # nothing is decoded after the last part


def test_a_part_shorter_than_a_frame_has_one_and_one_behind_the_end_is_refused(tmp_path):
    path = make.constant(tmp_path / "v.mp4", FRAMES, 10)
    [(_, frames)] = span_frames(path, [(2.06, 2.07)], fps=10, size=Whole(64, 64))
    assert [make.index_of(frame) for frame in frames] == [21]  # the first cell whose middle comes after 2.06 s
    with pytest.raises(VideoError, match="begins at 7 s, the video ends at 6 s"):
        list(span_frames(path, [(7.0, 8.0)], fps=10, size=Whole(64, 64)))


def test_clips_are_the_segments_and_no_video_is_on_both_sides(data):
    folder, annotations = data
    training, validation = segment_clips(folder, annotations, PretrainConfig(), shortest_seconds=0.5)
    assert [(c.path.stem, c.label, c.group, c.span) for c in training] == [
        (name, label, name, span)
        for name in ("v0", "v1", "v2")
        for label, span in (("upright", (1.0, 2.5)), ("lying", (3.0, 5.0)))
    ]
    # A class that training lacks is left out.
    assert {(c.path.stem, c.label) for c in validation} == {(v, k) for v in ("v3", "v4") for k in ("upright", "lying")}
    short, _ = segment_clips(folder, annotations, PretrainConfig(max_segment_seconds=1.0), shortest_seconds=0.5)
    assert [clip.span for clip in short[:2]] == [(1.25, 2.25), (3.5, 4.5)]


def test_gaps_are_background_where_they_are_asked_for_and_long_enough(data):
    segments = (Segment((1.0, 3.0), "a"), Segment((2.0, 4.0), "b"), Segment((6.0, 7.0), "a"))
    video = VideoAnnotations("v", "training", 9.0, None, segments, ambiguous=(Segment((4.5, 5.0), "Ambiguous"),))
    assert list(gaps(video)) == [(0.0, 1.0), (4.0, 4.5), (5.0, 6.0), (7.0, 9.0)]
    assert list(gaps(replace(video, duration=None)))[-1] == (5.0, 6.0)
    folder, annotations = data
    training, _ = segment_clips(folder, annotations, PretrainConfig(background=True), shortest_seconds=0.6)
    background = [clip.span for clip in training if clip.label == "background" and clip.path.stem == "v0"]
    assert background == [(0.0, 1.0), (5.0, 6.0)]  # the half second between the two actions is too short


def test_a_video_is_decoded_once_for_all_its_segments_and_a_bad_one_costs_only_itself(data, tmp_path, monkeypatch):
    folder, annotations = data
    training, _ = segment_clips(folder, annotations, PretrainConfig(), shortest_seconds=0.5)
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    decoded: list[Path] = []

    def counted(path, *args, **options):
        decoded.append(path)
        return span_frames(path, *args, **options)

    monkeypatch.setattr("pipeline.pretraining.data.span_frames", counted)
    spec, labels = start_of(QUICK).spec, ["lying", "upright"]
    clips = [*training, replace(training[0], path=broken)]
    cached, failed = cache_clips(clips, labels, spec, tmp_path / "frames", lambda _: None)
    assert [path.stem for path in decoded] == ["v0", "v1", "v2"]
    assert list(failed) == [str(broken)]
    assert [(clip.place, clip.frames) for clip in cached] == [(1, 45), (0, 60)] * 3  # at the encoder's 30 fps
    again, _ = cache_clips(clips, labels, spec, tmp_path / "frames", lambda _: None)
    assert again == cached and len(decoded) == 3


def test_an_encoder_learns_from_the_segments_of_one_subset_and_is_tested_on_the_others(data, tmp_path):
    folder, annotations = data
    out = tmp_path / "weights.safetensors"
    summary = pretrain(folder, out, replace(QUICK, epochs=12), annotations=annotations)
    assert summary.samples == (6, 4)
    assert summary.outcome.measures == {"accuracy": 1.0}
    assert summary.outcome.details["per_class"] == {"lying": 1.0, "upright": 1.0}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"validation_subset": "train"}, "must be two subsets"),
        ({"train_subset": "testing"}, "no video of subset 'testing'"),
        ({"max_segment_seconds": 0.0}, "max_segment_seconds must be > 0"),
    ],
)
def test_bad_settings_are_refused(data, tmp_path, changes, words):
    folder, annotations = data
    with pytest.raises(PipelineError, match=words):
        pretrain(folder, tmp_path / "w.safetensors", replace(QUICK, **changes), annotations=annotations)


def test_background_needs_annotations(data, tmp_path):
    with pytest.raises(PipelineError, match="give --annotations with it"):
        pretrain(data[0], tmp_path / "w.safetensors", replace(QUICK, background=True))
