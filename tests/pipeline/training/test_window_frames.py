"""Frames of windows: the same bytes as extraction's, one crop and flip for all of them, each frame in its snippets."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.snippets import SnippetPlan
from pipeline.training.frame_cache import CachedVideo, cache_videos
from pipeline.training.window_frames import View, Window, Windows
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.events import Snippets
from pipeline.video.find import find_videos
from pipeline.video.pool import DecodePool
from tests import videos as make
from tests.toys import TOY_SPEC

SPEC = replace(TOY_SPEC, short_side=40)
PLAN = SnippetPlan(fps=Fraction(10), window_frames=Fraction(8), stride_frames=Fraction(5, 2), num_frames=4)


def moving(index: int, height: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(index)
    coarse = generator.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))


def cached(path: Path, folder: Path, spec=SPEC, plan=PLAN) -> CachedVideo:
    done, failed = cache_videos(find_videos([path]), spec, plan, folder, report=lambda *_: None)
    assert failed == {}
    return done[path.stem]


@pytest.mark.parametrize(("fps", "own_rate"), [(10, False), (24, False), (24, True)])
def test_frames_without_augmentation_are_those_of_extraction_byte_for_byte(tmp_path, fps, own_rate):
    path = make.constant(tmp_path / "a.mp4", 37, fps, size=(48, 80), draw=moving)
    plan = replace(PLAN, fps=None) if own_rate else PLAN
    video = cached(path, tmp_path / "frames", plan=plan)
    with DecodePool(1, DecodeSettings(SPEC, plan)) as pool:
        parts = [event.frames for event in pool.decode(find_videos([path])) if isinstance(event, Snippets)]
    expected = np.concatenate(parts)
    window = Window(video, 0, video.snippets, View.center(SPEC, video))
    np.testing.assert_array_equal(window.snippets(range(video.snippets)).numpy(), expected)
    assert len(expected) == plan.at(Fraction(fps)).count(Fraction(37, fps))
    assert (video.height, video.width) == (40, 67)
    assert video.bytes == Path(f"{video.path}.frames").stat().st_size


def test_all_frames_of_a_window_share_one_crop_and_flip(tmp_path):
    def still(index: int, height: int, width: int) -> np.ndarray:
        return moving(7, height, width)

    video = cached(make.constant(tmp_path / "a.mp4", 30, 10, size=(48, 80), draw=still, b_frames=0), tmp_path)
    # A codec may touch a still picture a little from frame to frame.
    views = set()
    for seed in range(20):
        view = View.random(SPEC, video, np.random.default_rng(seed), crop=True, flip=True)
        views.add(view)
        snippets = Window(video, 1, 4, view).snippets([0, 1, 2, 3]).int()
        assert (snippets - snippets[0, 0]).abs().max() < 24
        whole = torch.from_numpy(video.pixels()[0].copy()).int()
        part = whole[view.top : view.top + 32, view.left : view.left + 32]
        assert (snippets[0, 0] - (part.flip(1) if view.mirrored else part)).abs().max() < 24
    assert len({view.left for view in views}) > 5 and len({view.mirrored for view in views}) == 2
    assert len({view.top for view in views}) > 3
    same = View.random(SPEC, video, np.random.default_rng(0), crop=False, flip=False)
    assert same == View.center(SPEC, video)


def test_a_changed_frame_changes_exactly_the_snippets_that_show_it(tmp_path):
    plain = cached(make.constant(tmp_path / "a.mp4", 30, 10, draw=moving), tmp_path / "frames")

    def changed_at(index: int) -> set[int]:
        pixels = np.array(plain.pixels())
        pixels[index] = 255 - pixels[index]
        other = replace(plain, path=str(tmp_path / "changed"))
        pixels.tofile(f"{other.path}.frames")
        np.save(f"{other.path}.rows.npy", plain.rows())
        one, two = (
            Window(video, 0, video.snippets, View.center(SPEC, video)).snippets(range(video.snippets))
            for video in (plain, other)
        )
        return set(np.flatnonzero((one != two).flatten(1).any(dim=1).numpy()).tolist())

    # Snippet i begins at cell 2.5 i and takes the cells 1, 3, 5 and 7 of its window.
    for ordinal in range(plain.frames):
        expected = {
            row for row in range(12) for cell in (1, 3, 5, 7)
            if min(int(2.5 * row + cell + 0.5), 29) == frame_of(plain, ordinal)
        }  # fmt: skip
        assert changed_at(ordinal) == expected != set()


def frame_of(video: CachedVideo, ordinal: int) -> int:
    """The number of the video's frame that a cached frame is: all whose cells some snippet takes, in order."""
    taken = sorted({min(int(2.5 * row + cell + 0.5), 29) for row in range(12) for cell in (1, 3, 5, 7)})
    assert len(taken) == video.frames
    return taken[ordinal]


def test_windows_are_read_by_numbers_that_run_through_them(tmp_path):
    video = cached(make.constant(tmp_path / "a.mp4", 30, 10, draw=moving), tmp_path / "frames")
    first, second = (View.random(SPEC, video, np.random.default_rng(s), crop=True, flip=True) for s in (1, 2))
    windows = Windows([Window(video, 2, 3, first), Window(video, 5, 4, second)])
    assert len(windows) == 7
    found = windows.read([1, 2, 3, 6])
    assert torch.equal(found[:2], Window(video, 3, 2, first).snippets([0, 1]))
    assert torch.equal(found[2:], Window(video, 5, 4, second).snippets([0, 3]))
    one, two = windows.split(torch.arange(14).view(7, 2))
    assert one.tolist() == [[0, 1], [2, 3], [4, 5]] and len(two) == 4


def test_videos_are_decoded_once_and_damaged_ones_are_told(tmp_path, monkeypatch):
    path = make.constant(tmp_path / "videos" / "a.mp4", 30, 10, draw=moving)
    video = cached(path, tmp_path / "frames")
    (tmp_path / "videos" / "b.mp4").write_bytes(path.read_bytes()[:600])
    monkeypatch.setattr("pipeline.training.frame_cache._write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cached(path, tmp_path / "frames", spec=replace(SPEC, short_side=50))
    assert cached(path, tmp_path / "frames") == video
    monkeypatch.undo()
    done, failed = cache_videos(
        find_videos([tmp_path / "videos"]), SPEC, PLAN, tmp_path / "frames", report=lambda *_: None
    )
    assert done == {"a": video} and list(failed) == ["b"]
