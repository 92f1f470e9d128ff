"""What a file is found to be, and what is refused before a decoder sees it."""

from __future__ import annotations

import struct
import threading
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from pipeline.video import decord_backend
from pipeline.video.decode import decode
from pipeline.video.errors import VideoError
from pipeline.video.metadata import probe
from pipeline.video.report import DecodeReport, refuse_damaged, refuse_truncated
from tests.pipeline.video.test_decode import PLAN, SPEC
from tests.videos import constant, write_video


def failure_of(path: Path, **settings) -> VideoError:
    with pytest.raises(VideoError) as failure:
        info = probe(path, **settings)
        for _ in decode(path, info, PLAN, SPEC, decoder="pyav"):
            pass
    return failure.value


def test_a_plain_file_is_described(tmp_path):
    info = probe(constant(tmp_path / "v.mp4", 30, 25, size=(48, 96)))
    assert (info.codec, info.pixel_format, info.bits) == ("h264", "yuv420p", 8)
    assert (info.height, info.width, info.rotation) == (48, 96, 0)
    assert (info.num_frames, info.claimed_frames, info.fps) == (30, 30, 25)
    assert info.duration == info.claimed_duration == info.reached == Fraction(30, 25)
    assert info.constant_rate
    assert info.clean_start
    assert not info.interlaced
    assert (info.discarded, info.notes) == (0, ())


def test_interlaced_material_is_named(tmp_path):
    path = constant(tmp_path / "v.mp4", 10, 25, options={"x264-params": "tff=1"})
    info = probe(path)
    assert info.interlaced
    assert any("interlaced" in note for note in info.notes)


def test_ten_bits_are_seen(tmp_path):
    info = probe(constant(tmp_path / "v.mp4", 5, 25, pixel_format="yuv420p10le"))
    assert (info.bits, info.pixel_format) == (10, "yuv420p10le")


def test_the_best_of_several_streams_is_chosen(tmp_path):
    path = tmp_path / "v.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        streams = []
        for side in (32, 96, 64):
            stream = container.add_stream("libx264", rate=25)
            stream.width = stream.height = side
            stream.pix_fmt = "yuv420p"
            streams.append(stream)
        for index in range(10):
            for stream in streams:
                noise = rng.integers(0, 255, (stream.height, stream.width, 3), dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(noise, format="rgb24")
                frame.pts = index
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    patch(path, path.read_bytes().index(b"tkhd") + 4, ">I", 2)  # or the first track would be the enabled one
    info = probe(path)
    assert (info.stream_index, info.num_video_streams, info.width) == (1, 3, 96)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "unreadable"),
        (b"this is no video\n" * 100, "unreadable"),
        (bytes(range(256)) * 64, "unreadable"),
    ],
)
def test_what_is_no_video_is_unreadable(tmp_path, content, kind):
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    assert failure_of(path).kind == kind


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer"),
        (b"/annex/objects/SHA256E-s9--0.mp4\n", "git-annex pointer"),
        (b"\n<!DOCTYPE html>\n<html><title>Sign in</title></html>", "HTML page"),
        (b"<HTML><body>404</body></HTML>", "HTML page"),
        (b"<?xml version='1.0'?>\n<html xmlns='http://www.w3.org/1999/xhtml'></html>", "HTML page"),
        (b"PK\x03\x04" + bytes(100), "ZIP archive"),
    ],
)
def test_what_often_lies_in_the_place_of_a_video_is_named(tmp_path, content, words):
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    failure = failure_of(path)
    assert failure.kind == "unreadable"
    assert words in failure.reason


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path):
    assert failure_of(tmp_path / "none.mp4").kind == "unreadable"
    assert failure_of(tmp_path).kind == "unreadable"


def test_sound_alone_is_no_video_stream(tmp_path):
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate, frame.pts = 44100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    failure = failure_of(path)
    assert failure.kind == "no_video_stream"
    assert "audio" in failure.reason


def test_sound_with_a_cover_picture_is_no_video_stream(tmp_path):
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        sound, cover = container.add_stream("aac", rate=44100), container.add_stream("mjpeg", rate=25)
        cover.width = cover.height = 64
        cover.pix_fmt = "yuvj420p"
        cover.disposition = Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate, frame.pts = 44100, 0
        container.mux([*cover.encode(av.VideoFrame(64, 64, "yuvj420p")), *cover.encode(None)])
        container.mux([*sound.encode(frame), *sound.encode(None)])
    failure = failure_of(path)
    assert failure.kind == "no_video_stream"
    assert "cover picture" in failure.reason


@pytest.fixture(scope="module")
def web():
    """The URL of a local server and the list of the requests that it got."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["v.mp4", "v.m3u8", "v.avi", "v.mpd", "v.ffconcat", "v%d.png"])
@pytest.mark.parametrize("disguise", ["hls", "hls_url", "concat", "concat_url", "dash", "url", "sdp"])
def test_playlists_and_urls_in_disguise_open_nothing(tmp_path, web, name, disguise):
    url, requests = web
    secret = constant(tmp_path / "secret.mp4", 5, 25)
    text = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "hls_url": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{url}/a.ts\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{secret.name}'\n",
        "concat_url": f"ffconcat version 1.0\nfile '{url}/a.mp4'\n",
        "dash": f"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>{url}</BaseURL></MPD>",
        "url": f"{url}/a.mp4\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    }[disguise]
    path = tmp_path / name
    path.write_text(text)
    failure = failure_of(path)
    assert failure.kind in ("refused_container", "unreadable")
    if disguise not in ("sdp",):
        assert failure.kind == "refused_container"
    assert requests == []


@pytest.mark.parametrize("name", ["concat:a.mp4|b.mp4", "http:", "pipe:0", "subfile,,start,0,end,9,,:a.mp4"])
def test_a_file_name_that_looks_like_a_protocol_is_a_file_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    constant(tmp_path / "a.mp4", 5, 25)
    (tmp_path / "a.mp4").rename(tmp_path / name)
    assert probe(Path(name)).num_frames == 5


def test_an_image_and_a_gif_are_refused(tmp_path):
    gif = write_video(tmp_path / "v.gif", range(3), Fraction(1, 10), codec="gif", pixel_format="rgb8")
    gif.rename(tmp_path / "v.mp4")
    failure = failure_of(tmp_path / "v.mp4")
    assert failure.kind == "refused_container"
    assert "gif" in failure.reason


# --- files that claim too much --------------------------------------------------------------------------------------


def patch(path: Path, offset: int, layout: str, *values: int) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, offset, *values)
    path.write_bytes(data)


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
def test_a_file_that_lost_its_end_is_never_taken_for_whole(tmp_path, suffix, share):
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
        list(decode(path, probe(path), PLAN, thin, decoder="pyav"))


def test_a_stream_without_one_good_frame_is_a_decode_error(tmp_path):
    path = constant(tmp_path / "v.mp4", 20, 25)
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    assert failure_of(path).kind == "decode_error"


def test_progress_is_told_while_packets_are_read(tmp_path):
    calls = []
    probe(constant(tmp_path / "v.mp4", 600, 25), progress=lambda: calls.append(1))
    assert len(calls) >= 2
