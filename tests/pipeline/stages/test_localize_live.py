"""A source that grows gives the detections of the finished file, in time, in flat memory."""

import json
import threading
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from pipeline.annotations.segments import Detection
from pipeline.config import LocalizeConfig
from pipeline.detection.live import LiveWindows, enhanced_soon, live_detections
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.stages import localize_live
from pipeline.stages.localize import localize
from pipeline.stages.localize_live import LiveLocator
from pipeline.video.errors import VideoError
from pipeline.video.live_process import LiveDecoder
from sola.config import SolaConfig
from sola.enhance import enhance_array
from sola.module import SolaModule
from tests.pipeline.stages.test_localize import data, trained  # noqa: F401  (a fixture)
from tests.toys import TOY_SPEC, toy_store_spec
from tests.videos import constant

FRAMES = 150  # 15 s at 10 frames a second: 60 rows of 0.25 s, in windows of 8
CONFIG = LocalizeConfig(device="cpu", nms="none", live_window_seconds=2.0, live_idle_seconds=1.5)


def drift(index: int, height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 40 + (index * 7) % 180, np.uint8)


def grow(finished: Path, growing: Path, pieces: int, pause: float) -> threading.Thread:
    content = finished.read_bytes()
    growing.touch()

    def write() -> None:
        with growing.open("ab", buffering=0) as file:
            for number in range(pieces):
                file.write(content[len(content) * number // pieces : len(content) * (number + 1) // pieces])
                time.sleep(pause)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def as_set(detections: list[Detection]) -> list[tuple[float, float, str, float]]:
    rows = ((round(d.segment[0], 3), round(d.segment[1], 3), d.label, round(d.score, 6)) for d in detections)
    return sorted(rows, key=lambda row: (row[3], row))


def fragmented(path: Path) -> None:
    """Turn an MP4 file into one of fragments of a second, as cameras and recorders write it."""
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    with av.open(str(path)) as container, av.open(f"{path}.part", "w", format="mp4", options=options) as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    Path(f"{path}.part").replace(path)


@pytest.mark.parametrize(("store", "suffix"), [("store", "ts"), ("enhanced", "ts"), ("store", "mp4")])
def test_a_growing_file_gives_the_detections_of_the_finished_one_within_the_stated_delay(data, store, suffix):  # noqa: F811
    model = load_model(trained(data, store))
    model = replace(model, post=replace(model.post, voting_tiou=0.0))  # it averages over windows
    finished = constant(data / f"finished.{suffix}", FRAMES, 10, size=(32, 32), draw=drift, b_frames=0)
    if suffix == "mp4":
        fragmented(finished)
    offline = localize([finished], model, CONFIG).detections["finished"]
    growing = data / f"growing.{suffix}"
    thread = grow(finished, growing, pieces=30, pause=0.02)
    live = LiveLocator(str(growing), model, CONFIG, note=print)
    assert live.write(data / "found.jsonl") == len(offline) > 20
    thread.join()
    lines = [json.loads(line) for line in (data / "found.jsonl").read_text().splitlines()]
    found = [Detection((one["start"], min(15.0, one["end"])), one["label"], one["score"]) for one in lines]
    pairs = list(zip(as_set(found), as_set(offline), strict=True))
    assert [one[2] for one, _ in pairs] == [other[2] for _, other in pairs]
    numbers = np.array([[[*side[:2], side[3]] for side in pair] for pair in pairs])
    assert np.abs(numbers[:, 0] - numbers[:, 1]).max() <= 1e-3  # times are rounded to it
    late = [one["found_at"] - (one["start"] + one["end"]) / 2 for one in lines]
    assert max(late) <= live.delay_seconds + 0.1
    assert live.delay_seconds <= (2.0 if store == "store" else 10.0) + 1.0
    assert lines[0]["found_at"] < 15 / (2 if store == "store" else 1)
    assert {one["video"] for one in lines} == {"growing"}


def test_windows_are_forgotten_so_memory_is_flat(data):  # noqa: F811
    model = replace(load_model(trained(data, "store")), sola=None)
    rng = np.random.default_rng(0)

    def peak(rows: int) -> int:
        chunks = (rng.random((1, 6), dtype=np.float32) for _ in range(rows))
        tracemalloc.start()
        for _ in live_detections(model, LiveWindows(8, 0), chunks, seconds=lambda: 1e6, device="cpu"):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1000)  # what libraries keep from their first calls
    rows = 4000
    assert peak(rows) < rows * 6 * 4 / 2  # less than half of the rows alone


def test_sola_in_small_pieces_equals_sola_on_the_whole():
    module = SolaModule(6, SolaConfig(hidden=8, predictor_hidden=8))
    module.alpha.data.fill_(1.0)
    rows = np.random.default_rng(1).random((97, 6), dtype=np.float32)
    pieces = list(enhanced_soon(module, (rows[i : i + 3] for i in range(0, 97, 3)), size=4))
    assert all(len(piece) == 4 for piece in pieces[:-1])
    whole = enhance_array(module, rows)
    assert np.abs(whole - rows).max() > 1e-3
    assert np.allclose(np.concatenate(pieces), whole, atol=1e-5)


def test_a_camera_that_breaks_off_is_connected_to_again_after_a_growing_wait(data, monkeypatch):  # noqa: F811
    model = load_model(trained(data, "store"))
    waits: list[float] = []
    notes: list[str] = []

    def refuse(decoder: LiveDecoder) -> None:
        raise VideoError("unreadable", "Connection refused")

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(LiveDecoder, "open", refuse)
    monkeypatch.setattr(localize_live, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    live = LiveLocator("rtsp://camera/1", model, CONFIG, note=notes.append)
    with pytest.raises(KeyboardInterrupt):
        list(live.lines())
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert notes[0] == "rtsp://camera/1: unreadable: Connection refused; connecting again in 1 s"


def test_a_decoder_that_crashes_is_connected_to_again_and_the_job_goes_on(data, monkeypatch):  # noqa: F811
    model = load_model(trained(data, "store"))
    film = constant(data / "film.ts", FRAMES, 10, size=(32, 32), draw=drift, b_frames=0)
    entries = iter(["tests.pipeline.video.misbehaving:crashing_live", "pipeline.video.live_process:main"])
    notes: list[str] = []

    class Camera(LiveDecoder):
        def __init__(self, *given, **settings):
            super().__init__(*given, **settings, entry=next(entries))

    monkeypatch.setattr(localize_live, "LiveDecoder", Camera)
    monkeypatch.setattr(localize_live, "is_endless", lambda source: True)
    no_wait = SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)
    monkeypatch.setattr(localize_live, "time", no_wait)
    found = []
    with pytest.raises(RuntimeError):  # no third entry: the second connection has ended
        for line in LiveLocator(str(film), model, CONFIG, note=notes.append).lines():
            found.append(line)
    assert "ended by SIGSEGV; connecting again in 1 s" in notes[0] and "the source has ended" in notes[1]
    assert len(found) > 20


def test_a_source_that_is_none_is_refused(data):  # noqa: F811
    model = load_model(trained(data, "store"))
    for source in ("nowhere.ts", "ftp://camera/1"):
        with pytest.raises(PipelineError, match="live: no such source"):
            LiveLocator(source, model, CONFIG, note=print)


def test_a_source_that_has_gone_meanwhile_is_named(tmp_path):
    spec = toy_store_spec(ExtractConfig())
    decoder = LiveDecoder(str(tmp_path / "video9"), spec.plan, TOY_SPEC, idle_seconds=1, timeout_seconds=20)
    with decoder, pytest.raises(VideoError, match="no such source"):
        decoder.open()
