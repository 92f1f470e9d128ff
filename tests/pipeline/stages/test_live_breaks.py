"""Live sources that break off, never answer, or are none: each ends in a line, and what was found stays."""

import http.server
import os
import socket
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.config import LocalizeConfig
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.stages import localize_live
from pipeline.stages.localize import localize
from pipeline.stages.localize_live import LiveLocator
from pipeline.video import live_source
from pipeline.video.errors import VideoError
from pipeline.video.live_source import GrowingFile, open_live, without_password
from tests.pipeline.stages.test_localize import data, trained  # noqa: F401  (a fixture)
from tests.pipeline.stages.test_localize_live import CONFIG, drift, grow
from tests.videos import constant

NO_WAIT = SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)


@pytest.fixture
def model(data):  # noqa: F811
    model = load_model(trained(data, "store"))
    return replace(model, post=replace(model.post, voting_tiou=0.0))  # it averages over windows


@pytest.fixture
def film(data):  # noqa: F811
    return constant(data / "film.ts", 80, 10, size=(32, 32), draw=drift, b_frames=0)


@pytest.fixture
def serve():
    """Start a server whose connections are served by the given functions, one after the other; later ones fail."""
    servers = []

    def start(*connections) -> str:
        left = iter(connections)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if (connection := next(left, None)) is None:
                    self.send_error(503)
                    return
                self.send_response(200)
                connection(self)

            def log_message(self, *words) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/stream"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def streaming(content: bytes, *, pause: float = 0.02):
    """Return a connection that sends the content in pieces, without its length, and then breaks off."""

    def send(handler) -> None:
        handler.end_headers()
        for start in range(0, len(content), 10_000):
            handler.wfile.write(content[start : start + 10_000])
            time.sleep(pause)

    return send


def require_same(lines: list[dict], detections, *, offset: float, end: float) -> None:
    """Compare live lines, which may reach beyond the end of the source, with detections of the file."""
    found = [(line["start"] - offset, min(line["end"], end) - offset, line["score"]) for line in lines]
    expected = [(*one.segment, one.score) for one in detections]
    by_score = [sorted(some, key=lambda one: (-round(one[2], 5), one)) for some in (found, expected)]
    assert len(expected) > 5
    np.testing.assert_allclose(*by_score, atol=2e-3)


def test_a_stream_that_breaks_off_is_searched_to_its_break_and_goes_on_until_there_is_none(
    model, film, serve, tmp_path, monkeypatch
):
    part = tmp_path / "part.ts"
    part.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    offline = localize([part, film], model, CONFIG).detections
    monkeypatch.setattr(localize_live, "time", NO_WAIT)
    notes: list[str] = []
    source = serve(streaming(part.read_bytes()), streaming(film.read_bytes()))
    live = LiveLocator(source, model, replace(CONFIG, live_retry_seconds=3.0), note=notes.append)
    lines: list[list[dict]] = [[], [], []]
    with pytest.raises(PipelineError, match=r"no picture for \d+ s, given up; unreadable: .*5XX"):
        for line in live.lines():
            lines[len(notes)].append(line)
    assert notes == [f"{source}: decode_error: Input/output error; connecting again in {wait} s" for wait in (1, 2)]
    first, second, third = lines
    assert {line["video"] for line in first + second} == {source} and third == []
    end = max(line["found_at"] for line in first)
    require_same(first, offline["part"], offset=0.0, end=end)
    end = max(line["found_at"] for line in second)
    assert 0 < end - 8.0 < 60
    require_same(second, offline["film"], offset=end - 8.0, end=end)


def test_what_will_never_be_a_stream_is_refused_at_once(model, film, serve):
    picture = b"\xff\xd8\xff\xe0" + bytes(9000)
    for content, words in ((picture, "playlists and pictures are not read"), (film.read_bytes(), "download it")):

        def file(handler, content=content) -> None:
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)

        live = LiveLocator(serve(file), model, replace(CONFIG, live_retry_seconds=1.0), note=print)
        with pytest.raises(PipelineError, match=f"refused_container: .*{words}"):
            list(live.lines())


def test_an_address_that_does_not_answer_ends_in_one_line_that_shows_no_password(model):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]  # nobody listens
        notes: list[str] = []
        config = replace(CONFIG, live_retry_seconds=2.0)
        live = LiveLocator(f"rtsp://me:secret@127.0.0.1:{port}/x", model, config, note=notes.append)
        begun = time.monotonic()
        with pytest.raises(PipelineError) as error:
            list(live.lines())
    assert time.monotonic() - begun < 15
    reason = f"rtsp://127.0.0.1:{port}/x: unreadable: Connection refused"
    assert notes == [f"{reason}; connecting again in 1 s"]
    assert str(error.value).startswith(f"live: rtsp://127.0.0.1:{port}/x: no picture for ")
    assert str(error.value).endswith("given up; unreadable: Connection refused") and "\n" not in str(error.value)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_accepts_and_then_says_nothing_is_left_in_time(scheme, monkeypatch):
    monkeypatch.setattr(live_source, "_NETWORK_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        with pytest.raises(VideoError, match="unreadable"):
            open_live(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x", idle_seconds=1)
        assert time.monotonic() - begun < 10


def test_a_pipe_gives_the_detections_of_a_file(model, film, data):  # noqa: F811
    offline = localize([film], model, CONFIG).detections["film"]
    os.mkfifo(data / "pipe.ts")
    live = LiveLocator(str(data / "pipe.ts"), model, CONFIG, note=print)
    thread = grow(film, data / "pipe.ts", pieces=30, pause=0.02)
    lines = list(live.lines())
    thread.join()
    assert {line["video"] for line in lines} == {"pipe"}
    require_same(lines, offline, offset=0.0, end=8.0)


def test_a_pipe_without_a_writer_and_an_empty_file_end_in_a_line(model, data):  # noqa: F811
    os.mkfifo(data / "pipe.ts")
    (data / "empty.ts").touch()
    for name in ("pipe.ts", "empty.ts"):
        live = LiveLocator(str(data / name), model, replace(CONFIG, live_idle_seconds=0.3), note=print)
        with pytest.raises(PipelineError, match=r"unreadable: nothing was written to it for 0\.3 s"):
            list(live.lines())


def test_a_writer_that_pauses_does_not_end_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    pipe = GrowingFile(tmp_path / "pipe", idle_seconds=5.0)
    writer = os.open(tmp_path / "pipe", os.O_WRONLY)
    timer = threading.Timer(0.3, os.write, (writer, b"late"))
    timer.start()
    assert pipe.read(100) == b"late" and pipe.begun
    timer.join()
    os.close(writer)
    pipe.close()


def test_a_device_that_is_no_webcam_is_given_up_and_one_that_does_not_exist_is_refused(model, monkeypatch):
    monkeypatch.setattr(localize_live, "time", NO_WAIT)
    live = LiveLocator("/dev/null", model, replace(CONFIG, live_retry_seconds=0.5), note=print)
    with pytest.raises(PipelineError, match=r"live: /dev/null: no picture for \d s, given up; unreadable: "):
        list(live.lines())
    with pytest.raises(PipelineError, match="live: no such source: /dev/video9"):
        LiveLocator("/dev/video9", model, CONFIG, note=print)
    with pytest.raises(PipelineError, match="is no file, pipe or device"):
        LiveLocator("/dev", model, CONFIG, note=print)
    with pytest.raises(PipelineError, match=r"live: no such source: ftp://host/v\.ts"):
        LiveLocator("ftp://user:word@host/v.ts", model, CONFIG, note=print)


def test_limits_of_live_options_and_names_without_passwords():
    with pytest.raises(PipelineError, match=r"live_retry_seconds must be > 0, got 0"):
        LocalizeConfig(live_retry_seconds=0)
    assert without_password("rtsp://a:b@c:1/d@e") == "rtsp://c:1/d@e"
    assert without_password("a@b/c.ts") == "a@b/c.ts"
