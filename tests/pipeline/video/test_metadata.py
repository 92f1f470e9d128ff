"""Probing describes a file, or refuses it before a decoder sees it."""

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

from pipeline.video.decode import Backend, decode
from pipeline.video.errors import VideoError
from pipeline.video.metadata import probe
from tests.pipeline.video.test_decode import PLAN, SPEC
from tests.videos import constant, write_video


def failure_of(path: Path, **settings) -> VideoError:
    with pytest.raises(VideoError) as failure:
        info = probe(path, **settings)
        for _ in decode(info, PLAN, SPEC, backend=Backend("pyav")):
            pass
    return failure.value


def patch(path: Path, offset: int, layout: str, *values: int) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, offset, *values)
    path.write_bytes(data)


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
    assert info.notes == ("video streams: 3; that with the index 1 is read",)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "unreadable"),
        (b"this is no video\n" * 100, "unreadable"),
        (bytes(range(256)) * 64, "unreadable"),
    ],
)
def test_a_file_that_is_no_video_is_unreadable(tmp_path, content, kind):
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
def test_a_file_that_often_replaces_a_video_is_named(tmp_path, content, words):
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
    """Yield the URL of a local server and the list of the requests that it gets."""
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
