"""Pictures of RGB and flow: their content against a direct reading of the plan, each flow once, room in the ring."""

from __future__ import annotations

import random
import threading
from bisect import bisect_right
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan, tick_of
from pipeline.video import process
from pipeline.video.decode import Chunk, _Run, decode
from pipeline.video.errors import VideoError
from pipeline.video.flow import FlowSettings, estimators, flow_as_bytes
from pipeline.video.flow_pictures import PictureMaker, WholeFrames, flow_pictures, most_pictures_held
from pipeline.video.metadata import probe
from pipeline.video.pictures import Geometry, Scaler
from pipeline.video.pool import DecodeLimits, DecodePool, Failed, Finished, Restarted, Snippets
from pipeline.video.pyav_backend import DecodeCounts, TimedFrame
from pipeline.video.schedule import SnippetFrames
from pipeline.video.videos import VideoFile
from tests.pipeline.video.test_decode import BACKENDS, MS, SPEC
from tests.videos import constant, index_of, write_video

FLOW_SPEC = replace(SPEC, short_side=64, crop_size=48)


def plan(window, stride, num_frames, stack=1, *, fps=25, tail="pad") -> SnippetPlan:
    return SnippetPlan(
        fps=Fraction(fps),
        window_frames=Fraction(str(window)),
        stride_frames=Fraction(str(stride)),
        num_frames=num_frames,
        stack=stack,
        flow=True,
        tail=tail,
    )


class Stub:
    """In place of an estimator: the difference of red and green; notes which frames it was given."""

    def __init__(self) -> None:
        self.pairs: list[tuple[int, int]] = []
        self._lock = threading.Lock()

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        square = slice((first.shape[1] - first.shape[0]) // 2, (first.shape[1] + first.shape[0]) // 2)
        with self._lock:
            self.pairs.append((index_of(first[:, square]), index_of(second[:, square])))
        return difference(first, second)


def difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (second[..., :2].astype(np.float32) - first[..., 1:].astype(np.float32)) / 16


def snippets_of(path: Path, plan: SnippetPlan, stub, *, threads: int = 2, **settings) -> list[np.ndarray]:
    """The snippets [F * L, S, S, 5] of a video, put together as a consumer with a ring would do it."""
    maker = PictureMaker(lambda: stub, FLOW_SPEC, threads=threads)
    items = decode(path, probe(path), plan, WholeFrames(FLOW_SPEC), **settings)
    rows: list[np.ndarray] = []
    ring: dict[int, np.ndarray] = {}
    for item in flow_pictures(items, plan, maker, progress=lambda: None):
        if isinstance(item, Chunk):
            ring |= {item.first_ordinal + place: picture for place, picture in enumerate(item.frames)}
            (snippet,) = item.snippets
            assert snippet.row == len(rows)
            rows.append(np.stack([ring[ordinal] for ordinal in snippet.ordinals]))
            ring = {ordinal: picture for ordinal, picture in ring.items() if ordinal >= item.keep_from}
    return rows


def whole_frames(path: Path) -> tuple[list[np.ndarray], list[Fraction]]:
    """All frames of a video, scaled and not cropped, and the moments at which they begin."""
    import av

    info = probe(path)
    scaler = Scaler(Geometry.of(info, WholeFrames(FLOW_SPEC)))
    with av.open(str(path)) as container:
        frames = [scaler.picture(frame).copy() for frame in container.decode(video=0)]
    return frames, [(tick - info.timestamps[0]) * info.time_base for tick in info.timestamps]


def directly(path: Path, plan: SnippetPlan) -> tuple[list[np.ndarray], set[tuple[int, int]]]:
    """The snippets by the definition, and the different pairs of different frames in them."""
    frames, starts = whole_frames(path)
    top, left, size = FLOW_SPEC.crop_box(*frames[0].shape[:2])
    pairs, rows = set(), []
    for row in range(plan.count(probe(path).duration)):
        pictures = []
        for cell in plan.cells:
            moments = [(row * plan.stride_frames + n + Fraction(1, 2)) / plan.fps for n in (cell, cell + 1)]
            one, other = (bisect_right(starts, moment) - 1 for moment in moments)
            flow = difference(frames[one], frames[other])
            if one == other:
                flow = flow * 0
            else:
                pairs.add((one, other))
            whole = np.concatenate([frames[one], flow_as_bytes(flow)], axis=2)
            pictures.append(whole[top : top + size, left : left + size])
        rows.append(np.stack(pictures))
    return rows, pairs


I3D = plan(16, 4, 16)
CASES = {
    "overlapping": (I3D, 25),
    "stacks": (plan(16, 4, 3, 5, fps=30), 30),
    "stacks, gaps filled later": (plan(16, 3, 3, 5, fps=30), 30),
    "stride longer than the window": (plan(8, 13, 4), 25),
    "fewer frames than cells": (plan(8, 3, 4, 2), 10),
    "more frames than cells": (plan(8, 3, 4, 2), 60),
    "broken stride": (plan("7.5", "2.3", 2, 3), 24),
    "dropped tail": (plan(16, 5, 16, tail="drop"), 25),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("decoder", BACKENDS)
def test_pictures_are_those_of_the_plan_and_no_flow_is_estimated_twice_or_in_vain(tmp_path, case, decoder):
    chosen, fps = CASES[case]
    path = constant(tmp_path / "v.mp4", 2 * fps + 3, fps, size=(64, 96))
    expected, pairs = directly(path, chosen)
    stub = Stub()
    rows = snippets_of(path, chosen, stub, decoder=decoder)
    assert len(rows) == len(expected)
    if decoder == "pyav":  # decord converts colors a little differently
        assert all(np.array_equal(row, other) for row, other in zip(rows, expected, strict=True))
    else:
        frames, _ = whole_frames(path)
        shown = [[index_of(picture[..., :3]) for picture in row] for row in _padded(rows, frames)]
        assert shown == [[index_of(picture[..., :3]) for picture in row] for row in _padded(expected, frames)]
    assert len(stub.pairs) == len(set(stub.pairs))
    assert set(stub.pairs) == pairs


def _padded(rows: list[np.ndarray], frames: list[np.ndarray]) -> list[np.ndarray]:
    """The pictures with a gray border of the width that was cropped, so that the code in them can be read."""
    width = (frames[0].shape[0] - rows[0].shape[1]) // 2
    return [np.pad(row, ((0, 0), (width, width), (width, width), (0, 0)), mode="edge") for row in rows]


def test_frames_that_stand_still_have_no_flow_and_need_no_estimate(tmp_path):
    path = write_video(tmp_path / "v.mkv", [0, 4000], MS, size=(64, 96))
    stub = Stub()
    rows = snippets_of(path, I3D, stub)
    assert stub.pairs == [(0, 1)]
    moves = [np.any(snippet[..., 3:] != 128, axis=(1, 2, 3)) for snippet in rows]
    moving = [(row, place) for row, places in enumerate(moves) for place in np.flatnonzero(places)]
    # Cell 99 shows frame 0 and cell 100 frame 1: rows 21 to 24 begin with cells 84 to 96.
    assert moving == [(row, 99 - 4 * row) for row in (21, 22, 23, 24)]


def test_the_last_frame_is_repeated_and_moves_nowhere(tmp_path):
    path = constant(tmp_path / "v.mp4", 18, 25, size=(64, 96))
    rows = snippets_of(path, I3D, Stub())
    assert len(rows) == 5  # ceil(18 / 4)
    assert np.all(rows[4][1:, ..., 3:] == 128)
    assert np.array_equal(rows[4][1], rows[4][15])


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_pictures_do_not_depend_on_threads(tmp_path, threads):
    path = constant(tmp_path / "v.mp4", 40, 25, size=(64, 96))
    expected = snippets_of(path, I3D, Stub(), threads=2)
    rows = snippets_of(path, I3D, Stub(), threads=threads)
    assert np.array_equal(np.stack(rows), np.stack(expected))


def test_snippets_of_a_frame_that_is_shown_for_hours_are_handed_on_one_after_the_other():
    frame = np.zeros((2, 2, 3), np.uint8)
    taken = []

    def chunks():
        yield Chunk(0, (frame,), (), 0)
        for row in range(20_000):
            taken.append(row)
            yield Chunk(1, (), (SnippetFrames(row, (0, 0, 0, 0)),), 0)

    maker = PictureMaker(lambda: None, Tiny(), threads=1)
    for given, item in enumerate(flow_pictures(chunks(), plan(3, 1, 3), maker, progress=lambda: None)):
        assert item.snippets[0].row == given
        assert len(taken) <= given + 1 + maker.most_waiting
    assert given == 19_999


def test_progress_is_told_of_every_picture_and_errors_of_an_estimator_come_out():
    beats = []
    frames = tuple(np.full((2, 2, 3), level, np.uint8) for level in range(4))
    chunk = Chunk(0, frames, (SnippetFrames(0, (0, 1, 2, 3)),), 4)
    maker = PictureMaker(lambda: lambda a, b: np.zeros((2, 2, 2), np.float32), Tiny(), threads=1)
    list(flow_pictures([chunk], plan(3, 1, 3), maker, progress=lambda: beats.append(1)))
    assert len(beats) == 3

    def broken(first, second):
        raise MemoryError

    maker = PictureMaker(lambda: broken, Tiny(), threads=1)
    with pytest.raises(MemoryError):
        list(flow_pictures([chunk], plan(3, 1, 3), maker, progress=lambda: None))


# --- room in the ring ------------------------------------------------------------------------------------------


def name_of(chosen: SnippetPlan) -> str:
    return (
        f"{chosen.num_frames}x{chosen.stack} in {float(chosen.window_frames):g}, stride {float(chosen.stride_frames):g}"
    )


class Tiny:
    crop_size = 2

    def crop_box(self, height: int, width: int) -> tuple[int, int, int]:
        return 0, 0, 2


AWKWARD = [
    *(plan(16, stride, 3, 5) for stride in ("0.5", 1, 3, 4, 7, 11, 16, 17, 40)),
    *(plan(16, stride, 16) for stride in (1, "2.5", 4, 16, 50)),
    plan("4.3", "0.7", 2, 2),
    plan("33.4", "5.3", 4, 3),
    plan(30, "7.1", 2, 4, tail="drop"),
    plan(1, "0.3", 1),
    plan(64, "10.6", 8),
]
FRAME_SECONDS = ["0.003", "0.01", "0.04", "0.041", "0.1", "0.9", "5"]


def run_in_ring(chosen: SnippetPlan, starts: list[int], last: int, base: Fraction) -> int:
    """Gives frame ``i`` from ``starts[i]`` on; fails where a picture is wrong or gone; the most that the ring held."""
    info = SimpleNamespace(time_base=base, timestamps=starts, last_duration=last)
    ends = [*starts[1:], None]
    shown = (
        TimedFrame(start, end, lambda i=i: np.frombuffer(i.to_bytes(12, "little"), np.uint8).reshape(2, 2, 3))
        for i, (start, end) in enumerate(zip(starts, ends, strict=True))
    )
    run = _Run(Path("v"), info, chosen, Tiny(), 1, lambda: None, None)  # type: ignore[arg-type]
    chunks = (item for item in run._chunks(shown, SimpleNamespace(), DecodeCounts()) if isinstance(item, Chunk))
    # What a picture says of itself: its frame in the RGB, that of the next cell in the flow.
    estimate = lambda first, second: (second[..., :2].astype(np.float32) - 128) / 6.375  # noqa: E731
    maker = PictureMaker(lambda: estimate, Tiny(), threads=1)
    room = most_pictures_held(chosen)
    ring: dict[int, np.ndarray] = {}
    written = released = most = 0
    rows = 0
    for chunk in flow_pictures(chunks, chosen, maker, progress=lambda: None):
        assert chunk.first_ordinal == written
        written += len(chunk.frames)
        most = max(most, written - released)
        assert most <= room, "the worker would wait for ever"
        ring |= dict(zip(range(chunk.first_ordinal, written), chunk.frames, strict=True))
        for snippet in chunk.snippets:
            assert snippet.row == rows
            for ordinal, cell in zip(snippet.ordinals, chosen.cells, strict=True):
                moments = [(rows * chosen.stride_frames + n + Fraction(1, 2)) / chosen.fps for n in (cell, cell + 1)]
                one, other = (bisect_right(starts, tick_of(moment, base)) - 1 for moment in moments)
                picture = ring[ordinal]
                assert int.from_bytes(picture[..., :3].tobytes(), "little") == one
                if one != other:
                    second = np.frombuffer(other.to_bytes(12, "little"), np.uint8).reshape(2, 2, 3)
                    assert np.array_equal(picture[..., 3:], second[..., :2])
            rows += 1
        released = chunk.keep_from
        ring = {ordinal: picture for ordinal, picture in ring.items() if ordinal >= released}
    assert rows == chosen.count((starts[-1] + last) * base)
    return most


@pytest.mark.parametrize("chosen", AWKWARD, ids=name_of)
def test_the_ring_holds_all_that_is_needed_whatever_the_video(chosen):
    rng = random.Random(7)
    base = Fraction(1, 1000)
    for lengths in [["0.003"], ["0.04"], ["0.9"], FRAME_SECONDS, ["0.01", "0.01", "0.01", "0.01", "5"]]:
        steps = [int(Fraction(rng.choice(lengths)) / base) for _ in range(250 if lengths != ["0.9"] else 12)]
        if sum(steps) * base / chosen.stride_seconds > 3000:
            steps = steps[:40]
        starts = [sum(steps[:i]) for i in range(len(steps))]
        run_in_ring(chosen, starts, steps[-1] + 3 * int(chosen.window_seconds / base), base)


def test_the_room_is_not_much_more_than_what_a_video_takes():
    starts = [4 * i for i in range(900)]
    for chosen in (AWKWARD[3], AWKWARD[11]):
        assert run_in_ring(chosen, starts, 4, MS) >= most_pictures_held(chosen) / 3


# --- in processes ------------------------------------------------------------------------------------------


def run_pool(path: Path, chosen: SnippetPlan, told: list[int] | None = None, **settings) -> np.ndarray:
    flow = FlowSettings(threads=settings.pop("threads", 2))
    rows = []
    with DecodePool(
        1, FLOW_SPEC, chosen, flow=flow, on_pictures=[].append if told is None else told.append, **settings
    ) as pool:
        for event in pool.decode([VideoFile("v", path)]):
            assert not isinstance(event, (Failed, Restarted)), event
            if isinstance(event, Snippets):
                rows.append(event.frames)
            if isinstance(event, Finished):
                assert event.report.num_snippets == sum(map(len, rows))
    return np.concatenate(rows)


@pytest.mark.parametrize("chosen", [AWKWARD[0], AWKWARD[2], AWKWARD[8], AWKWARD[16]], ids=name_of)
def test_workers_and_main_process_never_wait_for_each_other_in_the_smallest_ring(tmp_path, chosen, monkeypatch):
    monkeypatch.setattr(process, "_CHUNKS_AHEAD", 0)
    path = write_video(tmp_path / "v.mkv", [0, 40, 80, 120, 900, 1700, 1740, 1780], MS, size=(64, 96))
    rows = run_pool(path, chosen, limits=DecodeLimits(timeout_seconds=10))
    assert rows.shape[1:] == (len(chosen.cells), 48, 48, 5)


def test_what_a_process_gives_is_what_the_frames_say(tmp_path):
    path = constant(tmp_path / "v.mp4", 12, 25, size=(64, 96))
    told: list[int] = []
    rows = run_pool(path, I3D, told, decoder="pyav")
    estimate = estimators(FlowSettings())()
    frames, _ = whole_frames(path)
    top, left, size = FLOW_SPEC.crop_box(*frames[0].shape[:2])
    expected = flow_as_bytes(estimate(frames[5], frames[6]))[top : top + size, left : left + size]
    assert np.array_equal(rows[1, 1, ..., 3:], expected)
    assert np.array_equal(rows[1, 1, ..., :3], frames[5][top : top + size, left : left + size])
    assert np.array_equal(rows[0, 5], rows[1, 1])
    assert 0 <= sum(told) <= 12
    assert np.array_equal(run_pool(path, I3D, decoder="pyav", threads=1), rows)


def test_raft_runs_in_a_process_within_its_memory(tmp_path):
    path = constant(tmp_path / "v.mp4", 4, 25, size=(64, 96))
    chosen = plan(4, 4, 4)
    settings = FlowSettings(method="raft", weights="random")
    with DecodePool(1, FLOW_SPEC, chosen, "pyav", flow=settings) as pool:
        rows, end = pool.decode([VideoFile("v", path)])
    assert isinstance(rows, Snippets) and isinstance(end, Finished)
    frames, _ = whole_frames(path)
    top, left, size = FLOW_SPEC.crop_box(*frames[0].shape[:2])
    flow = flow_as_bytes(estimators(settings)()(frames[1], frames[2]))[top : top + size, left : left + size]
    np.testing.assert_allclose(rows.frames[0, 1, ..., 3:].astype(int), flow.astype(int), atol=1)


def slow_worker() -> None:
    """A worker whose estimates take half a second each."""
    import time

    from pipeline.video import worker

    def slow():
        def estimate(first, second):
            time.sleep(0.5)
            return np.zeros((*first.shape[:2], 2), np.float32)

        return estimate

    worker.estimators = lambda settings: slow
    worker.main()


def test_slow_flow_is_no_timeout_and_is_told_of_while_it_goes_on(tmp_path):
    path = constant(tmp_path / "v.mp4", 16, 25, size=(64, 96))
    told: list[int] = []
    limits = DecodeLimits(timeout_seconds=2)  # less than the eight seconds that a snippet takes
    rows = run_pool(path, plan(16, 16, 16), told, threads=1, limits=limits, entry=f"{__name__}:slow_worker")
    assert len(rows) == 1
    assert len(told) >= 5


def test_a_plan_and_settings_of_flow_belong_together():
    with pytest.raises(PipelineError, match="needs settings of flow"):
        DecodePool(1, FLOW_SPEC, I3D)


def test_a_video_that_fails_costs_only_itself(tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    good = constant(tmp_path / "good.mp4", 5, 25, size=(64, 96))
    ends = {}
    with DecodePool(1, FLOW_SPEC, I3D, flow=FlowSettings()) as pool:
        for event in pool.decode([VideoFile("bad", tmp_path / "bad.mp4"), VideoFile("good", good)]):
            ends[event.video.id] = type(event)
    assert ends == {"bad": Failed, "good": Finished}
    with pytest.raises(VideoError):
        probe(tmp_path / "bad.mp4")
