"""Pictures with flow in the ring of a decoder process: the room is enough, and the pool gives what the plan says."""

from __future__ import annotations

import random
from bisect import bisect_right
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan, tick_of
from pipeline.video import process
from pipeline.video.decode import Chunk, _Run
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.errors import VideoError
from pipeline.video.events import Failed, Finished, Restarted, Snippets
from pipeline.video.flow import FlowSettings, estimators, flow_as_bytes
from pipeline.video.flow_pictures import PictureMaker, flow_pictures, most_pictures_held
from pipeline.video.limits import DecodeLimits
from pipeline.video.metadata import probe
from pipeline.video.pool import DecodePool
from pipeline.video.pyav_backend import DecodeCounts, TimedFrame
from pipeline.video.videos import VideoFile
from tests.pipeline.video.test_decode import MS
from tests.pipeline.video.test_flow_pictures import FLOW_SPEC, I3D, Tiny, plan, whole_frames
from tests.videos import constant, write_video


def name_of(chosen: SnippetPlan) -> str:
    return (
        f"{chosen.num_frames}x{chosen.stack} in {float(chosen.window_frames):g}, stride {float(chosen.stride_frames):g}"
    )


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
    """Show frame `i` from `starts[i]` on; fail if a picture is wrong or gone; return the most that the ring held."""
    info = SimpleNamespace(time_base=base, timestamps=starts, last_duration=last)
    ends = [*starts[1:], None]
    shown = (
        TimedFrame(start, end, lambda i=i: np.frombuffer(i.to_bytes(12, "little"), np.uint8).reshape(2, 2, 3))
        for i, (start, end) in enumerate(zip(starts, ends, strict=True))
    )
    run = _Run(info, chosen, Tiny(), lambda: None, None)  # type: ignore[arg-type]
    chunks = (item for item in run._chunks(shown, SimpleNamespace(), DecodeCounts()) if isinstance(item, Chunk))
    # A picture holds the number of its frame in the RGB and that of the next cell's frame in the flow.
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
        assert most <= room, "the worker would wait forever"
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
def test_the_ring_holds_all_needed_pictures_of_any_video(chosen):
    rng = random.Random(7)
    base = Fraction(1, 1000)
    for lengths in [["0.003"], ["0.04"], ["0.9"], FRAME_SECONDS, ["0.01", "0.01", "0.01", "0.01", "5"]]:
        steps = [int(Fraction(rng.choice(lengths)) / base) for _ in range(250 if lengths != ["0.9"] else 12)]
        if sum(steps) * base / chosen.stride_seconds > 3000:
            steps = steps[:40]
        starts = [sum(steps[:i]) for i in range(len(steps))]
        run_in_ring(chosen, starts, steps[-1] + 3 * int(chosen.window_seconds / base), base)


def test_the_ring_is_not_much_larger_than_a_video_needs():
    starts = [4 * i for i in range(900)]
    for chosen in (AWKWARD[3], AWKWARD[11]):
        assert run_in_ring(chosen, starts, 4, MS) >= most_pictures_held(chosen) / 3


# --- in processes ------------------------------------------------------------------------------------------


def run_pool(path: Path, chosen: SnippetPlan, counts: list[int] | None = None, **settings) -> np.ndarray:
    flow = FlowSettings(threads=settings.pop("threads", 2))
    worker = {"entry": settings.pop("worker")} if "worker" in settings else {}
    rows = []
    with DecodePool(
        1,
        DecodeSettings(FLOW_SPEC, chosen, flow=flow, **settings),
        **worker,
        on_pictures=[].append if counts is None else counts.append,
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


def test_a_process_gives_the_flow_of_its_frames(tmp_path):
    path = constant(tmp_path / "v.mp4", 12, 25, size=(64, 96))
    counts: list[int] = []
    rows = run_pool(path, I3D, counts, decoder="pyav")
    estimate = estimators(FlowSettings())()
    frames, _ = whole_frames(path)
    top, left, size = FLOW_SPEC.crop_box(*frames[0].shape[:2])
    expected = flow_as_bytes(estimate(frames[5], frames[6]))[top : top + size, left : left + size]
    assert np.array_equal(rows[1, 1, ..., 3:], expected)
    assert np.array_equal(rows[1, 1, ..., :3], frames[5][top : top + size, left : left + size])
    assert np.array_equal(rows[0, 5], rows[1, 1])
    assert 0 <= sum(counts) <= 12
    assert np.array_equal(run_pool(path, I3D, decoder="pyav", threads=1), rows)


def test_raft_runs_in_a_process_within_its_memory(tmp_path):
    path = constant(tmp_path / "v.mp4", 4, 25, size=(64, 96))
    chosen = plan(4, 4, 4)
    settings = FlowSettings(method="raft", weights="random")
    with DecodePool(1, DecodeSettings(FLOW_SPEC, chosen, "pyav", flow=settings)) as pool:
        rows, end = pool.decode([VideoFile("v", path)])
    assert isinstance(rows, Snippets) and isinstance(end, Finished)
    frames, _ = whole_frames(path)
    top, left, size = FLOW_SPEC.crop_box(*frames[0].shape[:2])
    flow = flow_as_bytes(estimators(settings)()(frames[1], frames[2]))[top : top + size, left : left + size]
    np.testing.assert_allclose(rows.frames[0, 1, ..., 3:].astype(int), flow.astype(int), atol=1)


def slow_worker() -> None:
    """Run a worker whose estimates take half a second each."""
    import time

    from pipeline.video import worker

    def slow():
        def estimate(first, second):
            time.sleep(0.5)
            return np.zeros((*first.shape[:2], 2), np.float32)

        return estimate

    worker.estimators = lambda settings: slow
    worker.main()


def test_slow_flow_is_no_timeout_and_reports_its_progress(tmp_path):
    path = constant(tmp_path / "v.mp4", 16, 25, size=(64, 96))
    counts: list[int] = []
    limits = DecodeLimits(timeout_seconds=2)  # less than the eight seconds that a snippet takes
    rows = run_pool(path, plan(16, 16, 16), counts, threads=1, limits=limits, worker=f"{__name__}:slow_worker")
    assert len(rows) == 1
    assert len(counts) >= 5


def test_a_plan_and_settings_of_flow_belong_together():
    with pytest.raises(PipelineError, match="give flow settings for a plan with flow"):
        DecodePool(1, DecodeSettings(FLOW_SPEC, I3D))


def test_a_video_that_fails_costs_only_itself(tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    good = constant(tmp_path / "good.mp4", 5, 25, size=(64, 96))
    ends = {}
    with DecodePool(1, DecodeSettings(FLOW_SPEC, I3D, flow=FlowSettings())) as pool:
        for event in pool.decode([VideoFile("bad", tmp_path / "bad.mp4"), VideoFile("good", good)]):
            ends[event.video.id] = type(event)
    assert ends == {"bad": Failed, "good": Finished}
    with pytest.raises(VideoError):
        probe(tmp_path / "bad.mp4")
