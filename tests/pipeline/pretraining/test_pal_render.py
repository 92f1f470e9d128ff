"""Synthetic videos as pixels: exactly the planned frames, and what an encoder of windows makes of a moved paste."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.pretraining.pal_config import PalConfig
from pipeline.pretraining.pal_plan import ClipGrid, Pair, Paste, Span, plan_step
from pipeline.pretraining.pal_render import render_pair
from pipeline.pretraining.window_encoder import WindowEncoder
from tests.pipeline.pretraining.pal_videos import SIDE, coded, tiny

SPEC, NETWORK = tiny()
GRID = ClipGrid(clips=8, stride=4, window=4, cells=(1, 3))
NOISE = np.random.default_rng(0).integers(0, 256, (4, 100, SIDE, SIDE, 3), dtype=np.uint8)


def rendered(pair: Pair, frames_of, grid: ClipGrid = GRID, *, blend: int = 0, seed: int | None = None) -> torch.Tensor:
    rng = None if seed is None else np.random.default_rng(seed)
    return render_pair(pair, frames_of, SPEC, grid, blend=blend, rng=rng)


@pytest.mark.parametrize("grid", [GRID, ClipGrid(clips=6, stride=4, window=13, cells=(1, 6, 11))])
def test_inside_the_interval_are_source_frames_only_and_outside_the_background(tmp_path, grid):
    videos = coded(tmp_path, [[60, 50], [40], [80], [45]])
    lengths = [[stretch.frames for stretch in of_video] for of_video in videos]

    def frames_of(video, stretch):
        return np.load(videos[video][stretch].file, mmap_mode="r")

    for seed in range(10):
        for pair in plan_step(lengths, [0, 2, 1, 3], grid, PalConfig(), seed=[seed]):
            pixels = rendered(pair, frames_of, grid)
            assert pixels.shape == (2, grid.clips, len(grid.cells), SIDE, SIDE, 3)
            assert (pixels == pixels[..., :1, :1, :]).all()
            for paste, windows in zip(pair.pastes, pixels, strict=True):
                source = paste.source_frames().tolist()
                for clip in range(grid.clips):
                    for number, cell in enumerate(grid.cells):
                        frame = clip * grid.stride + cell
                        inside = paste.place[0] <= frame < paste.place[1]
                        span = paste.source if inside else paste.background
                        shown = source[frame - paste.place[0]] if inside else frame
                        expected = [10 * span.video + span.stretch, span.first + shown, 7]
                        assert windows[clip, number, 0, 0].tolist() == expected


def test_a_blend_mixes_the_two_frames_by_their_weights():
    flat = np.zeros((3, 100, SIDE, SIDE, 3), np.uint8)
    flat[1:] = 200
    paste = Paste(Span(0, 0, 0), Span(1, 0, 0), region=(0, 8), place=(5, 13))
    other = replace(paste, background=Span(2, 0, 0))
    shown = rendered(Pair((paste, other)), lambda video, _: flat[video], blend=2)[0, :, :, 0, 0, 0]
    frames = dict(zip(GRID.frames.ravel().tolist(), shown.flatten().tolist(), strict=True))
    assert [frames[frame] for frame in (3, 5, 7, 9, 11, 13)] == [200, 150, 0, 0, 50, 200]


def test_all_frames_of_a_part_share_one_view_and_the_two_parts_do_not():
    still = np.broadcast_to(NOISE[:, :1], NOISE.shape)  # every video is one picture
    pair = plan_step([[100]] * 4, [0, 1, 2], GRID, PalConfig(), seed=[0])[0]
    one = rendered(pair, lambda video, _: still[video], seed=0)
    pictures = {tuple(picture.flatten().tolist()) for picture in one.flatten(0, 2)}
    assert len(pictures) == 4  # two backgrounds, and the source in two views
    assert torch.equal(one, rendered(pair, lambda video, _: still[video], seed=0))
    assert not torch.equal(one, rendered(pair, lambda video, _: still[video], seed=1))


def features(paste: Paste) -> torch.Tensor:
    """Return features [T', C] of a synthetic video, by an encoder of separate windows."""
    encode = WindowEncoder(NETWORK.eval(), SPEC, torch.device("cpu"), bf16=False)
    still = NOISE.copy()
    still[1:3] = NOISE[1:3, :1]  # backgrounds that look alike at all times
    windows = rendered(Pair((paste, paste)), lambda video, _: still[video])[0]
    with torch.no_grad():
        return torch.cat([encode(window[None]) for window in windows])


def test_a_paste_that_moves_by_whole_windows_moves_the_features_by_as_many_rows():
    paste = Paste(Span(0, 0, 7), Span(1, 0, 3), region=(2, 20), place=(6, 18))
    here, there = features(paste), features(replace(paste, place=(14, 26)))
    assert torch.equal(there[3:7], here[1:5])  # all windows that show the region
    assert not torch.equal(features(replace(paste, place=(13, 25)))[3:7], here[1:5])


def test_another_background_changes_no_window_that_is_wholly_inside():
    paste = Paste(Span(0, 0, 7), Span(1, 0, 3), region=(2, 20), place=(6, 18))
    one, two = features(paste), features(replace(paste, background=Span(2, 0, 9)))
    same = [torch.equal(a, b) for a, b in zip(one, two, strict=True)]
    # Frames 6 to 17: windows 2 and 3 are inside. Of windows 1 and 4 an edge cuts the frames 5 and 7, 17 and 19.
    assert same == [False, False, True, True, False, False, False, False]
