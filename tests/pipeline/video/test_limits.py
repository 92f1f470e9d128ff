"""Files that claim too much, have lost their end or exceed a limit are refused."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.video import decord_backend
from pipeline.video.decode import Backend, decode
from pipeline.video.errors import VideoError
from pipeline.video.metadata import probe
from pipeline.video.report import DecodeReport, refuse_damaged, refuse_truncated
from tests.pipeline.video.test_decode import PLAN, SPEC
from tests.pipeline.video.test_metadata import failure_of, patch
from tests.videos import constant


def claim_a_million_frames(path: Path) -> None:
    data = path.read_bytes()
    stts = data.index(b"stts")
    count, ticks = struct.unpack_from(">II", data, stts + 12)
    assert count == 10
    patch(path, stts + 12, ">I", 1_000_000)
    patch(path, data.index(b"mdhd") + 20, ">I", 1_000_000 * ticks)
    patch(path, data.index(b"elst") + 12, ">I", 1_000_000 * 40)  # milliseconds


def test_an_mp4_that_claims_a_million_frames_and_has_ten_is_truncated(tmp_path):
    path = constant(tmp_path / "v.mp4", 10, 25, b_frames=0, options={"g": "1"})
    claim_a_million_frames(path)
    info = probe(path)
    assert (info.claimed_frames, info.num_frames) == (1_000_000, 10)
    assert any("claims 1000000 frames and holds 10" in note for note in info.notes)
    assert "another number of frames" in (decord_backend.why_wrong(info) or "")
    assert failure_of(path).kind == "truncated"


def test_an_avi_that_claims_a_million_frames_and_has_ten_is_truncated(tmp_path):
    path = constant(tmp_path / "v.avi", 10, 25, codec="mpeg4", b_frames=0)
    data = path.read_bytes()
    patch(path, data.index(b"avih") + 8 + 16, "<I", 1_000_000)
    patch(path, data.index(b"strh") + 8 + 32, "<I", 1_000_000)
    assert failure_of(path).kind == "truncated"


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "avi"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_file_that_lost_its_end_is_never_accepted_as_whole(tmp_path, suffix, share):
    options = {"movflags": "faststart"} if suffix == "mp4" else {}
    path = tmp_path / f"v.{suffix}"
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        rng = np.random.default_rng(0)
        for _ in range(100):
            noise = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode(None))
    assert probe(path).num_frames == 100
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert failure_of(path).kind == "truncated"


def test_an_mp4_without_its_index_is_unreadable(tmp_path):
    path = constant(tmp_path / "v.mp4", 50, 25)
    path.write_bytes(path.read_bytes()[:-400])  # the index is at the end
    failure = failure_of(path)
    assert failure.kind == "unreadable"
    assert "error reading header" in failure.reason


def test_durations_that_are_rounded_or_outlast_the_picture_a_little_are_no_truncation(tmp_path):
    info = probe(constant(tmp_path / "v.mp4", 100, 25))  # 4 s
    for claimed, fine in [("4.4", True), ("4.49", True), ("4.51", False), ("4", True), ("3", True), ("40", False)]:
        changed = info.__class__(**{**vars(info), "claimed_duration": Fraction(claimed)})
        if fine:
            refuse_truncated(changed)
        else:
            with pytest.raises(VideoError, match="truncated"):
                refuse_truncated(changed)


def test_a_share_of_damaged_frames_above_the_limit_is_refused(tmp_path):
    info = probe(constant(tmp_path / "v.mp4", 100, 25))

    def report(corrupt: int, seconds: str = "4") -> DecodeReport:
        return DecodeReport("pyav", "1", "", 100, corrupt, Fraction(seconds), 8, ())

    refuse_damaged(info, report(5), max_corrupt=0.05)
    refuse_damaged(info, report(100), max_corrupt=1.0)
    for limit in (0.0, 0.05):
        with pytest.raises(VideoError, match="corrupt: 6 of 100 frames"):
            refuse_damaged(info, report(6), max_corrupt=limit)
    with pytest.raises(VideoError, match=r"truncated: 2\.000 s of 4\.000 s"):
        refuse_damaged(info, report(0, "2"), max_corrupt=1.0)


def test_a_container_that_claims_30000_by_30000_pixels_is_too_large(tmp_path):
    path = tmp_path / "v.avi"
    constant(path, 3, 25, codec="rawvideo", pixel_format="yuv420p")
    patch(path, path.read_bytes().index(b"strf") + 8 + 4, "<ii", 30_000, 30_000)
    failure = failure_of(path)
    assert failure.kind == "too_large"
    assert "30000x30000" in failure.reason


def test_a_stream_that_claims_more_pixels_than_its_container_is_not_decoded(tmp_path):
    path = constant(tmp_path / "v.avi", 3, 25, codec="mjpeg", pixel_format="yuvj420p", b_frames=0)
    data = bytearray(path.read_bytes())
    at = data.find(b"\xff\xc0")
    while at >= 0:  # every frame header: marker, length, precision, height, width
        struct.pack_into(">HH", data, at + 5, 30_000, 30_000)
        at = data.find(b"\xff\xc0", at + 2)
    path.write_bytes(data)
    assert failure_of(path).kind in ("too_large", "decode_error")


def test_the_limits_on_pixels_and_seconds_are_kept(tmp_path):
    path = constant(tmp_path / "v.mp4", 50, 25)  # 64x64, 2 s
    assert probe(path, max_pixels=64 * 64, max_seconds=2).num_frames == 50
    assert failure_of(path, max_pixels=64 * 64 - 1).kind == "too_large"
    assert failure_of(path, max_seconds=1).kind == "too_long"


def test_a_long_thin_picture_is_not_blown_up(tmp_path):
    path = constant(tmp_path / "v.mkv", 2, 25, size=(2, 8000), codec="ffv1", b_frames=0)
    thin = SPEC.__class__(**{**vars(SPEC), "short_side": 256, "crop_size": 224})
    with pytest.raises(VideoError, match="too_large"):
        list(decode(probe(path), PLAN, thin, backend=Backend("pyav")))


def test_a_stream_without_one_good_frame_is_a_decode_error(tmp_path):
    path = constant(tmp_path / "v.mp4", 20, 25)
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    assert failure_of(path).kind == "decode_error"


def test_progress_is_reported_while_packets_are_read(tmp_path):
    calls = []
    probe(constant(tmp_path / "v.mp4", 600, 25), progress=lambda: calls.append(1))
    assert len(calls) >= 2
