"""Single pictures: the frame that is shown at a time, whatever the container's index and the file's rotation."""

import pytest

from pipeline.video.errors import VideoError
from pipeline.video.stills import stills
from tests.videos import constant, index_of, rotate_track


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv"])  # AVI has no times of its own: decoding begins at the start
def test_a_still_is_the_frame_shown_at_its_time(tmp_path, suffix):
    path = constant(tmp_path / f"a.{suffix}", 60, 10)
    # Frame i is shown during [i / 10, (i + 1) / 10); key frames are 12 frames apart.
    pictures = stills(path, [0.0, 0.55, 1.2, 3.19, 5.95, 99.0], height=64)
    assert [index_of(picture) for picture in pictures] == [0, 5, 12, 31, 59, 59]


def test_a_still_is_upright_and_keeps_its_shape(tmp_path):
    path = constant(tmp_path / "a.mp4", 3, 10, size=(64, 128))
    assert stills(path, [0.1], height=32)[0].shape == (32, 64, 3)
    rotate_track(path, 90)
    assert stills(path, [0.1], height=32)[0].shape == (32, 16, 3)


def test_a_file_that_is_no_video_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError):
        stills(tmp_path / "a.mp4", [0.0], height=32)
