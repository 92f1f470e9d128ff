"""Decoding in processes: every video gets its rows, even if other videos or processes fail."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.video import decord_backend
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.events import Failed, Finished, Snippets
from pipeline.video.find import find_videos
from pipeline.video.limits import DecodeLimits
from pipeline.video.pool import DecodePool, default_workers
from pipeline.video.videos import VideoFile
from tests.pipeline.video import misbehaving
from tests.pipeline.video.test_decode import PLAN, SPEC, shown
from tests.videos import constant, flip_bits, index_of

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
QUICK = DecodeLimits(timeout_seconds=2.5)


def collect(pool: DecodePool, videos) -> tuple[dict[str, list[list[int]]], dict[str, Finished | Failed]]:
    """Return id → what its rows show, and id → its end; fail if rows are out of order or a video ends twice."""
    rows: dict[str, list[list[int]]] = {}
    ends: dict[str, Finished | Failed] = {}
    for event in pool.decode(videos):
        assert event.video.id not in ends
        if isinstance(event, Snippets):
            have = rows.setdefault(event.video.id, [])
            assert event.first_row == len(have)
            assert event.frames.dtype == np.uint8
            assert event.frames.shape[1:] == (4, 64, 64, 3)
            have += [[index_of(frame) for frame in snippet] for snippet in event.frames]
        else:
            ends[event.video.id] = event
            if isinstance(event, Finished):
                assert event.report.num_snippets == len(rows[event.video.id])
    return rows, ends


def failures(ends: dict[str, Finished | Failed]) -> dict[str, str]:
    return {name: end.kind for name, end in ends.items() if isinstance(end, Failed)}


def expected(frames: int, fps: int = 30) -> list[list[int]]:
    return shown([Fraction(i, fps) for i in range(frames)], Fraction(frames, fps))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Interrupt a block that takes longer, even in a system call that does not return."""

    def interrupt(*_: object) -> None:
        raise TimeoutError(f"not done within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_video_gets_its_rows_in_order(videos, workers):
    with DecodePool(workers, DecodeSettings(SPEC, PLAN)) as pool:
        rows, ends = collect(pool, videos)
    assert rows == {f"v{n}": expected(10 * n) for n in range(1, 7)}
    assert failures(ends) == {}
    info = ends["v3"].info
    assert (info.num_frames, info.duration, info.fps, info.codec) == (30, 1, 30, "h264")
    assert ends["v3"].report.duration == 1
    if workers == 1:
        assert list(ends) == [video.id for video in videos]


def test_the_requested_decoder_is_used_and_named(videos):
    for decoder in ("auto", "pyav", "decord") if decord_backend.is_installed() else ("auto", "pyav"):
        with DecodePool(2, DecodeSettings(SPEC, PLAN, decoder)) as pool:
            rows, ends = collect(pool, videos)
        assert {end.report.backend for end in ends.values()} == {"decord" if decoder == "decord" else "pyav"}
        assert rows == {f"v{n}": expected(10 * n) for n in range(1, 7)}


def test_bad_files_cost_only_themselves(videos, tmp_path):
    folder = tmp_path / "videos"
    (folder / "text.mp4").write_text("this is no video")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "list.mp4").write_text("#EXTM3U\nv1.mp4\n")
    with DecodePool(2, DecodeSettings(SPEC, PLAN)) as pool:
        rows, ends = collect(pool, find_videos([folder]))
    assert failures(ends) == {"text": "unreadable", "empty": "unreadable", "list": "refused_container"}
    assert rows == {f"v{n}": expected(10 * n) for n in range(1, 7)}


def test_decoders_that_hang_crash_or_take_too_much_memory_are_replaced_and_the_rest_is_done(videos, tmp_path):
    kinds = {
        "hang": "timeout", "crash": "crashed", "hog": "out_of_memory", "killed": "out_of_memory", "exit": "crashed",
        **dict.fromkeys(misbehaving.BABBLE, "crashed"), "half": "timeout", "drip": "timeout",
    }  # fmt: skip
    bad = [VideoFile(name, constant(tmp_path / f"{name}.mp4", 10, 30)) for name in kinds]
    mixed = [video for pair in zip_longest(bad, videos) for video in pair if video is not None]
    limits = replace(QUICK, memory_bytes=1 << 28)
    entry = f"{misbehaving.__name__}:misbehaving_worker"
    with within(60), DecodePool(2, DecodeSettings(SPEC, PLAN, limits=limits), entry=entry) as pool:
        rows, ends = collect(pool, mixed)
    assert failures(ends) == kinds
    assert rows == {f"v{n}": expected(10 * n) for n in range(1, 7)}
    assert "SIGSEGV" in ends["crash"].reason
    assert "no progress for 2.5 s" in ends["hang"].reason
    assert "256 MiB" in ends["hog"].reason
    assert ends["exit"].reason.endswith("exit code 3: [h264] the disk is on fire")
    assert "rows out of order" in ends["rows"].reason


def damaged(path: Path, *, every: int) -> Path:
    constant(path, 300, 30, size=(96, 96), options={"qp": "4"})
    size = path.stat().st_size
    flip_bits(path, range(size // 3, size * 2 // 3, every))
    return path


def test_damage_is_found_and_rows_are_complete(tmp_path):
    path = damaged(tmp_path / "v.mp4", every=20_000)
    counts = {}
    for decoder in ("auto", "pyav"):
        with DecodePool(1, DecodeSettings(SPEC, PLAN, decoder, DecodeLimits(max_corrupt=0.5))) as pool:
            rows = 0
            for event in pool.decode([VideoFile("v", path)]):
                assert not isinstance(event, Failed), event
                if isinstance(event, Snippets):
                    assert event.first_row == rows
                    rows += len(event.frames)
                else:
                    end = event
        assert rows == end.report.num_snippets == 75
        assert end.report.backend == "pyav"
        counts[decoder] = end.report.corrupt_frames
    assert counts["auto"] == counts["pyav"] > 0


def test_too_much_damage_fails_the_video(tmp_path):
    path = damaged(tmp_path / "v.mp4", every=400)
    with DecodePool(1, DecodeSettings(SPEC, PLAN, limits=DecodeLimits(max_corrupt=0.05))) as pool:
        *_, end = pool.decode([VideoFile("v", path)])
    assert isinstance(end, Failed)
    assert end.kind == "corrupt"
    assert "of 300 frames are damaged" in end.reason


def test_equal_runs_give_equal_events_to_the_byte(videos, tmp_path):
    videos = [*videos, VideoFile("damaged", damaged(tmp_path / "d.mp4", every=20_000))]

    def run() -> tuple[dict, dict]:
        rows, ends = {}, {}
        with DecodePool(1, DecodeSettings(SPEC, PLAN, limits=DecodeLimits(max_corrupt=1))) as pool:
            for event in pool.decode(videos):
                if isinstance(event, Snippets):
                    rows[event.video.id] = rows.get(event.video.id, b"") + event.frames.tobytes()
                else:
                    ends[event.video.id] = event
        return rows, ends

    first = run()
    for _ in range(3):
        assert run() == first


def test_settings_are_checked():
    with pytest.raises(PipelineError, match="workers must be >= 1, got 0"):
        DecodePool(0, DecodeSettings(SPEC, PLAN))
    with pytest.raises(PipelineError, match="decoder must be one of auto, decord, pyav, torchcodec"):
        DecodePool(1, DecodeSettings(SPEC, PLAN, "ffmpeg"))


@pytest.mark.parametrize("settings", [{"max_corrupt": 1.5}, {"max_corrupt": -0.1}, {"timeout_seconds": 0}])
def test_limits_are_checked(settings):
    with pytest.raises(PipelineError, match=next(iter(settings))):
        DecodeLimits(**settings)


def test_decord_is_refused_if_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(decord_backend, "is_installed", lambda: False)
    with pytest.raises(PipelineError, match="not installed"):
        DecodePool(1, DecodeSettings(SPEC, PLAN, "decord"))


def test_the_default_number_of_workers_is_sensible():
    assert 1 <= default_workers() <= 16
    assert DecodePool(None, DecodeSettings(SPEC, PLAN)).workers == default_workers()
