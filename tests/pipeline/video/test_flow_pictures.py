"""Pictures of RGB and flow: their content against a direct reading of the plan, and each flow only once."""

from __future__ import annotations

import threading
from bisect import bisect_right
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.snippets import SnippetPlan
from pipeline.video.decode import Backend, Chunk, decode
from pipeline.video.flow import flow_as_bytes
from pipeline.video.flow_pictures import PictureMaker, WholeFrames, flow_pictures
from pipeline.video.metadata import probe
from pipeline.video.pictures import Geometry, Scaler
from pipeline.video.schedule import SnippetFrames
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
    """A stand-in for an estimator: the difference of red and green; notes its input frames."""

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
    """Return the snippets [F * L, S, S, 5] of a video, assembled as in a consumer with a ring."""
    maker = PictureMaker(lambda: stub, FLOW_SPEC, threads=threads)
    items = decode(probe(path), plan, WholeFrames(FLOW_SPEC), backend=Backend(**settings))
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
    """Return all frames of a video, scaled and not cropped, and the moments at which they begin."""
    import av

    info = probe(path)
    scaler = Scaler(Geometry.of(info, WholeFrames(FLOW_SPEC)))
    with av.open(str(path)) as container:
        frames = [scaler.picture(frame).copy() for frame in container.decode(video=0)]
    return frames, [(tick - info.timestamps[0]) * info.time_base for tick in info.timestamps]


def directly(path: Path, plan: SnippetPlan) -> tuple[list[np.ndarray], set[tuple[int, int]]]:
    """Return the snippets by definition, and the distinct pairs of different frames in them."""
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
def test_pictures_are_those_of_the_plan_and_each_needed_flow_is_estimated_once(tmp_path, case, decoder):
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
    """Return the pictures with a gray border as wide as the crop, so that the code in them can be read."""
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


class Tiny:
    crop_size = 2

    def crop_box(self, height: int, width: int) -> tuple[int, int, int]:
        return 0, 0, 2


def test_snippets_of_a_frame_that_is_shown_for_hours_come_one_after_the_other():
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


def test_every_picture_reports_progress_and_errors_of_an_estimator_are_raised():
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
