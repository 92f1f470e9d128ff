"""Frames of chosen cells: which they are, and that they are decoded once."""

from dataclasses import replace

import numpy as np
import pytest

from encoders.catalog import catalog_entry
from pipeline.pretraining import video_cells
from pipeline.pretraining.video_cells import bytes_of_frames, cache_cells
from pipeline.video.errors import VideoError
from tests import videos as make

SPEC = replace(catalog_entry("tsn_r18").spec, crop_size=32, short_side=48, fixed_size=None)


@pytest.mark.parametrize("fps", [5.0, 10.0, 12.5, 30.0])
def test_a_cell_shows_the_frame_in_its_middle(tmp_path, fps):
    path = make.constant(tmp_path / "v.mp4", 60, 10, size=(64, 80))
    spec = replace(SPEC, fps=fps)
    last = int(6 * fps) - 1
    cells = np.array([0, 1, 7, 8, 20, last, last + 3])
    cached = cache_cells(path, cells, spec, tmp_path / "frames")
    assert np.load(cached.file).shape == (7, 48, 60, 3)
    assert cached.file.stat().st_size - 128 == bytes_of_frames(7, (64, 80), spec)
    wanted = [8, 20, 1, last + 3, last]
    shown = [make.index_of(frame[:, 6:54].numpy()) for frame in cached.frames(wanted)]
    assert shown == [min(59, int((cell + 0.5) / fps * 10)) for cell in wanted]


def test_frames_that_are_there_are_not_decoded_again_and_others_are(tmp_path, monkeypatch):
    path = make.constant(tmp_path / "v.mp4", 30, 10)
    spec = replace(SPEC, fps=10.0)
    decoded = []
    shown_frames = video_cells.shown_frames

    def counted(*args):
        for number, shown in enumerate(shown_frames(*args)):
            decoded.append(number)
            yield shown

    monkeypatch.setattr(video_cells, "shown_frames", counted)
    first = cache_cells(path, np.array([3, 5]), spec, tmp_path)
    assert decoded == [0, 1, 2, 3, 4, 5]  # nothing behind the last cell
    assert cache_cells(path, np.array([3, 5]), spec, tmp_path).file == first.file
    assert len(decoded) == 6
    for other, settings in (([3, 6], spec), ([3, 5], replace(spec, fps=5.0)), ([3, 5], replace(spec, short_side=40))):
        assert cache_cells(path, np.array(other), settings, tmp_path).file != first.file
    with pytest.raises(AssertionError, match="not cached"):
        first.frames([4])


def test_a_video_that_breaks_leaves_no_file(tmp_path):
    path = make.constant(tmp_path / "v.mp4", 60, 10)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(VideoError):
        cache_cells(path, np.array([0, 50]), SPEC, tmp_path / "frames")
    assert not list((tmp_path / "frames").glob("*.npy"))
