"""Thumbnails show the right moments, copies keep the times, and a file that ends its decoder costs only itself."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from pipeline.video.errors import VideoError
from pipeline.video.metadata import probe
from pipeline.video.preview import THUMBNAILS, preview
from pipeline.video.preview_pool import Order, previews
from tests import videos as make


def gray(index: int, height: int, width: int) -> np.ndarray:
    """A picture as bright as its frame's index."""
    return np.full((height, width, 3), min(255, 20 + 2 * index), np.uint8)


def brightness(strip: Path) -> list[float]:
    picture = np.asarray(Image.open(strip).convert("L"), np.float64)
    assert picture.shape[0] == 54
    return [float(part.mean()) for part in np.split(picture, THUMBNAILS, axis=1)]


@pytest.mark.parametrize("gop", [12, 1000])
def test_thumbnails_are_the_middles_of_sixteen_parts(tmp_path, gop):
    film = make.constant(tmp_path / "film.mp4", 96, 10, draw=gray, context={"gop_size": gop})
    made = preview(film, tmp_path, "x", thumbnails=True, copies=False)
    assert (made.seconds, made.obstacle, made.strip, made.copy) == (9.6, "", True, "")
    # Six frames a part; its middle is the beginning of its fourth frame.
    expected = [20 + 2 * (6 * part + 3) for part in range(THUMBNAILS)]
    np.testing.assert_allclose(brightness(tmp_path / "x.jpg"), expected, atol=5)


def test_a_copy_has_the_times_of_the_original(tmp_path):
    # MPEG-4 part 2 in AVI: no browser plays it.
    film = make.constant(tmp_path / "film.avi", 30, 10, codec="mpeg4", size=(72, 96))
    made = preview(film, tmp_path, "x", thumbnails=False, copies=True)
    assert made.obstacle == "mpeg4 in avi"
    assert not made.strip and made.copy in ("x.mp4", "x.webm")
    info = probe(tmp_path / made.copy)
    assert info.codec in ("h264", "vp8")
    assert info.display_size == (72, 96)
    assert [float((t - info.timestamps[0]) * info.time_base) for t in info.timestamps] == pytest.approx(
        [k / 10 for k in range(30)], abs=0.002
    )
    assert float(info.duration) == pytest.approx(3.0, abs=0.11)
    assert preview(tmp_path / made.copy, tmp_path, "y", thumbnails=False, copies=True).copy == ""


def test_a_copy_of_uneven_frames_is_small_and_upright(tmp_path):
    ticks = [0, 1, 5, 6, 20]
    film = make.write_video(tmp_path / "film.mkv", ticks, Fraction(1, 10), size=(720, 960))
    made = preview(film, tmp_path, "x", thumbnails=False, copies=True)
    assert made.obstacle == "H264 in Matroska"
    with av.open(str(tmp_path / made.copy)) as copied:
        frames = list(copied.decode(video=0))
    assert [round(float(frame.time), 2) for frame in frames] == [0.0, 0.1, 0.5, 0.6, 2.0]
    assert (frames[0].height, frames[0].width) == (360, 480)
    middle = frames[3].to_ndarray(format="rgb24")[:, 60:420]
    assert make.index_of(middle) == 3


def test_vp8_is_used_without_h264(tmp_path, monkeypatch):
    monkeypatch.setattr("av.codecs_available", {"libvpx"})
    film = make.constant(tmp_path / "film.avi", 10, 10, codec="mpeg4")
    assert preview(film, tmp_path, "x", thumbnails=False, copies=True).copy == "x.webm"
    assert probe(tmp_path / "x.webm").codec == "vp8"
    monkeypatch.setattr("av.codecs_available", set())
    with pytest.raises(VideoError, match=r"no encoder for H\.264 or VP8"):
        preview(film, tmp_path, "z", thumbnails=False, copies=True)


def test_a_file_that_is_no_video_costs_only_itself(tmp_path):
    make.constant(tmp_path / "good.mp4", 8, 8)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    orders = {name: Order(tmp_path / f"{name}.mp4", tmp_path, name) for name in ("good", "bad", "gone")}
    told = []
    results = previews(orders, thumbnails=True, copies=False, report=lambda done, text: told.append(done))
    assert results["good"].seconds == 1
    assert {name: results[name].kind for name in ("bad", "gone")} == {"bad": "unreadable", "gone": "unreadable"}
    assert told[-1] == 1
