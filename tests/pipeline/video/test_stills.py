"""Single pictures: the frame that is shown at a time, whatever the container's index and the file's rotation."""

import pytest

from pipeline.video.errors import VideoError
from pipeline.video.stills import ask_for_stills, stills, stills_helper
from tests.videos import constant, index_of, rotate_track


def test_another_process_returns_the_same_stills_and_outlives_a_bad_file(tmp_path):
    path = constant(tmp_path / "a.mp4", 60, 10)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    times = [0.55, 3.19]
    with stills_helper() as helper:
        for _ in range(2):
            found = ask_for_stills(helper, path, times, height=64)
            assert [index_of(picture) for picture in found] == [5, 31]
            assert all((a == b).all() for a, b in zip(found, stills(path, times, height=64), strict=True))
            with pytest.raises(VideoError, match="unreadable"):
                ask_for_stills(helper, tmp_path / "bad.mp4", times, height=64)


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
