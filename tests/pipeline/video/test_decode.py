"""The frames of snippets: in every backend each is the frame that a player shows at that time."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from encoders.spec import EncoderSpec
from pipeline.snippets import SnippetPlan
from pipeline.video import decode as decode_module
from pipeline.video import decord_backend
from pipeline.video.decode import Backend, Chunk, decode
from pipeline.video.errors import VideoError
from pipeline.video.metadata import probe
from pipeline.video.report import DecodeReport
from tests.videos import constant, index_of, rotate_track, write_video

SPEC = EncoderSpec(
    name="test", version=1, feature_dim=1, num_frames=4, window_frames=8, fps=30, short_side=64, crop_size=64,
    mean=(0, 0, 0), std=(1, 1, 1), layout="clip", source="test",
)  # fmt: skip
PLAN = SnippetPlan(fps=Fraction(30), window_frames=Fraction(8), stride_frames=Fraction(4), num_frames=4)
DROP = replace(PLAN, tail="drop")

needs_decord = pytest.mark.skipif(not decord_backend.is_installed(), reason="decord is not installed")
BACKENDS = ["pyav", pytest.param("decord", marks=needs_decord)]
MS = Fraction(1, 1000)


def snippets_of(path: Path, plan: SnippetPlan = PLAN, **settings) -> tuple[list[np.ndarray], DecodeReport]:
    """Return the snippets [F, H, W, 3] of a video, assembled from chunks as in a consumer with a ring."""
    rows: list[np.ndarray] = []
    ring: dict[int, np.ndarray] = {}
    report = None
    for item in decode(probe(path), plan, SPEC, backend=Backend(**settings)):
        assert report is None, "nothing comes after the report"
        if not isinstance(item, Chunk):
            report = item
            continue
        for offset, frame in enumerate(item.frames):
            assert item.first_ordinal + offset not in ring
            ring[item.first_ordinal + offset] = frame
        for snippet in item.snippets:
            assert snippet.row == len(rows)
            rows.append(np.stack([ring[ordinal] for ordinal in snippet.ordinals]))
        for ordinal in [o for o in ring if o < item.keep_from]:
            del ring[ordinal]
    assert report is not None
    assert report.num_snippets == len(rows)
    return rows, report


def indexes_of(path: Path, plan: SnippetPlan = PLAN, **settings) -> list[list[int]]:
    return [[index_of(frame) for frame in snippet] for snippet in snippets_of(path, plan, **settings)[0]]


def shown(starts: list[Fraction], duration: Fraction, plan: SnippetPlan = PLAN) -> list[list[int]]:
    """Return what a player shows at the plan's times: the last frame that has started. `starts` begins with 0."""
    rows = plan.count(duration)
    return [
        [max(i for i, start in enumerate(starts) if start <= time) for time in plan.frame_times(row)]
        for row in range(rows)
    ]


@pytest.mark.parametrize("decoder", BACKENDS)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("fps", ["24000/1001", "25", "30000/1001", "30", "60", "10"])
def test_constant_rates_with_b_frames_show_the_frame_whose_interval_covers_the_time(tmp_path, decoder, suffix, fps):
    rate = Fraction(fps)
    path = constant(tmp_path / f"v.{suffix}", 41, rate)
    exact = [i / rate for i in range(41)]
    # Matroska counts milliseconds; if a time falls between the true and the rounded start of a frame, the file's clock
    # decides.
    starts = (
        exact if suffix == "mp4" else [Fraction(math.floor(start * 1000 + Fraction(1, 2)), 1000) for start in exact]
    )
    info = probe(path)
    assert [(t - info.timestamps[0]) * info.time_base for t in info.timestamps] == starts
    assert info.constant_rate
    assert info.fps == rate
    assert info.reordered
    assert abs(info.duration - 41 / rate) <= 2 * MS
    assert indexes_of(path, decoder=decoder) == shown(starts, info.duration)


@pytest.mark.parametrize("decoder", BACKENDS)
def test_a_video_at_the_encoders_rate_gives_each_of_its_frames_once(tmp_path, decoder):
    plan = SnippetPlan(fps=Fraction(30), window_frames=Fraction(4), stride_frames=Fraction(4), num_frames=4)
    path = constant(tmp_path / "v.mkv", 24, 30)  # rounded to milliseconds by the container
    assert list(itertools.chain(*indexes_of(path, plan, decoder=decoder))) == list(range(24))


@pytest.mark.parametrize("decoder", BACKENDS)
def test_variable_rate_shows_what_a_player_shows(tmp_path, decoder):
    rng = random.Random(3)
    gaps = [rng.choice([7, 20, 33, 50, 111, 400]) for _ in range(40)]
    pts = [sum(gaps[:i]) for i in range(41)]
    path = write_video(tmp_path / "v.mkv", pts, MS)
    info = probe(path)
    assert list(info.timestamps) == pts
    assert not info.constant_rate
    for plan in (
        PLAN,
        SnippetPlan(fps=Fraction(7), window_frames=Fraction(5), stride_frames=Fraction("1.7"), num_frames=3),
        SnippetPlan(fps=Fraction(7), window_frames=Fraction(2), stride_frames=Fraction(9), num_frames=2),
    ):
        if decoder == "decord":  # between such windows it would show other frames than it says
            with pytest.raises(VideoError, match="variable frame rate"):
                indexes_of(path, plan, decoder=decoder)
            continue
        assert indexes_of(path, plan, decoder=decoder) == shown([t * MS for t in pts], info.duration, plan)


@pytest.mark.parametrize("decoder", BACKENDS)
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts", "flv"])
def test_time_zero_is_the_first_frame_wherever_the_containers_clock_starts(tmp_path, decoder, suffix):
    pts = [5000 + 40 * i for i in range(30)]
    path = write_video(tmp_path / f"v.{suffix}", pts, MS)
    if decoder == "decord" and suffix in ("ts", "flv"):
        with pytest.raises(VideoError, match="decord is not exact here"):
            indexes_of(path, decoder=decoder)
        return
    assert indexes_of(path, decoder=decoder) == shown([Fraction(i, 25) for i in range(30)], probe(path).duration)


@pytest.mark.parametrize("decoder", BACKENDS)
@pytest.mark.parametrize("clockwise", [0, 90, 180, 270])
def test_rotation_is_applied(tmp_path, decoder, clockwise):
    from tests.videos import picture_of

    def turned(index: int, height: int, width: int) -> np.ndarray:
        upright = picture_of(index, *((width, height) if clockwise in (90, 270) else (height, width)))
        return np.rot90(upright, clockwise // 90)  # stored turned the other way: counter-clockwise

    path = constant(tmp_path / "v.mp4", 12, 30, size=(48, 96), draw=turned)
    rotate_track(path, clockwise)
    info = probe(path)
    assert info.rotation == -clockwise % 360
    assert info.display_size == ((96, 48) if clockwise in (90, 270) else (48, 96))
    if decoder == "decord" and clockwise:
        with pytest.raises(VideoError, match="decord is not exact here"):
            indexes_of(path, decoder=decoder)
        return
    assert indexes_of(path, decoder=decoder) == shown([Fraction(i, 30) for i in range(12)], Fraction(12, 30))


@pytest.mark.parametrize("decoder", BACKENDS)
@pytest.mark.parametrize("size", [(65, 91), (121, 33), (33, 35)])
def test_odd_sizes(tmp_path, decoder, size):
    path = constant(tmp_path / "v.mp4", 10, 30, size=size, pixel_format="yuv444p")
    assert (probe(path).height, probe(path).width) == size
    assert indexes_of(path, decoder=decoder) == shown([Fraction(i, 30) for i in range(10)], Fraction(1, 3))


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_frames_in_avi_come_in_order(tmp_path, codec, b_frames):
    path = constant(tmp_path / "v.avi", 30, 25, codec=codec, b_frames=b_frames)
    assert probe(path).by_order == (codec == "libx264")
    assert indexes_of(path, decoder="pyav") == shown([Fraction(i, 25) for i in range(30)], Fraction(30, 25))


@needs_decord
def test_decord_does_not_give_up_the_last_frames_while_its_thread_has_no_core(tmp_path, monkeypatch):
    path = constant(tmp_path / "v.mp4", 200, 25)
    monkeypatch.setenv("DECORD_EOF_RETRY_MAX", "1")  # with that a thread that is only a little late is too late
    assert indexes_of(path, decoder="decord") == indexes_of(path, decoder="pyav")


@needs_decord
def test_decord_reads_avi_without_b_frames_alike(tmp_path):
    path = constant(tmp_path / "v.avi", 30, 25, codec="mpeg4", b_frames=0)
    assert decord_backend.why_wrong(probe(path)) is None
    assert indexes_of(path, decoder="decord") == indexes_of(path, decoder="pyav")


@pytest.mark.parametrize("decoder", BACKENDS)
@pytest.mark.parametrize(("tail", "rows"), [("pad", 7), ("drop", 5)])
def test_the_tail_is_padded_with_the_last_frame_or_dropped(tmp_path, decoder, tail, rows):
    plan = replace(PLAN, tail=tail)
    path = constant(tmp_path / "v.mp4", 25, 30)  # windows start at 0, 4, 8, 12, 16, 20, 24
    indexes = indexes_of(path, plan, decoder=decoder)
    assert len(indexes) == rows
    assert indexes[0] == [1, 3, 5, 7]
    assert indexes[4] == [17, 19, 21, 23]
    if tail == "pad":
        assert indexes[5] == [21, 23, 24, 24]
        assert indexes[6] == [24, 24, 24, 24]


def test_a_video_shorter_than_one_window_has_one_padded_row_or_is_too_short(tmp_path):
    path = constant(tmp_path / "v.mp4", 1, 30)
    assert indexes_of(path, decoder="pyav") == [[0, 0, 0, 0]]
    with pytest.raises(VideoError) as failure:
        indexes_of(path, DROP, decoder="pyav")
    assert failure.value.kind == "too_short"


def test_a_frame_that_is_shown_for_an_hour_fills_its_snippets_without_being_kept_twice(tmp_path):
    path = write_video(tmp_path / "v.mkv", [0, 100, 3_600_100, 3_600_200], MS, b_frames=0)
    plan = SnippetPlan(fps=Fraction(2), window_frames=Fraction(4), stride_frames=Fraction(4), num_frames=4)
    kept = 0
    rows = []
    for item in decode(probe(path), plan, SPEC, backend=Backend("pyav")):
        if isinstance(item, Chunk):
            assert len(item.snippets) <= 64
            kept += len(item.frames)
            rows += [snippet.row for snippet in item.snippets]
    assert rows == list(range(plan.count(probe(path).duration)))
    assert kept == 2  # the one shown for an hour, and the last


def test_frames_are_scaled_once_however_many_snippets_share_them(tmp_path, monkeypatch):
    calls = []
    real = decode_module.pyav_backend.Scaler.picture
    monkeypatch.setattr(decode_module.pyav_backend.Scaler, "picture", lambda *a: (calls.append(1), real(*a))[1])
    plan = SnippetPlan(fps=Fraction(30), window_frames=Fraction(8), stride_frames=Fraction(1), num_frames=4)
    path = constant(tmp_path / "v.mp4", 40, 30)
    indexes = indexes_of(path, plan, decoder="pyav")
    assert len(indexes) == 40
    assert len(calls) == len({i for row in indexes for i in row}) == 39  # frame 0 is in the middle of no part
