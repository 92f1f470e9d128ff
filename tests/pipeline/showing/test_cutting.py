"""Clips hold the right pictures and sound: copied from the key frame on, or encoded again from the frame itself on."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.showing.cutting import copy_clip, exact_clip, frames_between
from pipeline.showing.encoding import PictureSize
from pipeline.video.errors import VideoError
from pipeline.video.metadata import probe
from tests.videos import constant, index_of, picture_of, rotate_track, write_video

RATE = 48_000


def shown(path: Path, *, left: int = 0) -> list[tuple[int, float]]:
    """Index and time of each picture of a clip; ``left`` pixels of a bar beside a square picture are cut off."""
    with av.open(str(path)) as clip:
        pictures = [(frame.to_ndarray(format="rgb24"), float(frame.time)) for frame in clip.decode(video=0)]
    return [(index_of(p[:, left : left + p.shape[0]] if left else p), time) for p, time in pictures]


def pitches(path: Path, times: list[float]) -> list[int]:
    """Frequency of the sound at some times, to 100 Hz."""
    with av.open(str(path)) as clip:
        frames = [(float(frame.time), frame.to_ndarray()[0]) for frame in clip.decode(audio=0)]
    sound = np.concatenate([samples for _, samples in frames])
    starts = [int((time - frames[0][0]) * RATE) for time in times]
    spectra = [np.abs(np.fft.rfft(sound[start : start + 4096] * np.hanning(4096))) for start in starts]
    return [round(int(np.argmax(spectrum)) * RATE / 4096, -2) for spectrum in spectra]


def with_sound(path: Path, seconds: int, fps: int, codec: str) -> Path:
    """A coded video with a tone of 400 Hz in its first second, 600 Hz in its second, 800 Hz, ..."""
    times = np.arange(seconds * RATE)
    tone = (0.5 * np.sin(2 * np.pi * (400 + 200 * (times // RATE)) * times / RATE)).astype(np.float32)
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("libx264", rate=fps), container.add_stream(codec, rate=RATE)
        video.width = video.height = 64
        video.codec_context.gop_size = fps
        for index in range(seconds * fps):
            picture = av.VideoFrame.from_ndarray(picture_of(index, 64, 64), format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, fps)
            container.mux(video.encode(picture))
            first = index * RATE // fps
            samples = tone[None, first : first + RATE // fps].copy()
            heard = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = RATE, first, Fraction(1, RATE)
            container.mux(sound.encode(heard))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 frames at 25 a second, a key frame every 12."""
    return constant(tmp_path_factory.mktemp("videos") / "v.mp4", 100, 25)


@pytest.mark.parametrize(("start", "end"), [(1.2, 2.0), (1.21, 1.99), (0.0, 0.04), (0.96, 1.0), (3.9, 9.0)])
def test_an_exact_clip_holds_the_frames_on_the_screen_and_no_other(video, tmp_path, start, end):
    clip = exact_clip(probe(video), start, end, tmp_path / "clip")
    first, last = int(start * 25 + 1e-6), min(99, -int(-(end * 25 - 1e-6) // 1) - 1)
    found = shown(tmp_path / "clip")
    assert [index for index, _ in found] == list(range(first, last + 1))
    assert [time for _, time in found] == pytest.approx([k / 25 for k in range(len(found))])
    assert (clip.start, clip.end, clip.suffix) == (Fraction(first, 25), Fraction(last + 1, 25), ".mp4")
    assert probe(tmp_path / "clip").duration == clip.end - clip.start


@pytest.mark.parametrize(("start", "end", "key"), [(1.2, 2.0, 24), (0.96, 1.0, 24), (0.95, 1.0, 12), (0.1, 0.2, 0)])
def test_a_copied_clip_begins_at_the_key_frame_at_or_before(video, tmp_path, start, end, key):
    clip = copy_clip(probe(video), start, end, tmp_path / "clip")
    found = [index for index, _ in shown(tmp_path / "clip")]
    assert clip.start == Fraction(key, 25)
    assert found == list(range(key, int(clip.end * 25)))  # what it states is what it holds, without a gap
    assert end <= clip.end <= end + 0.2


def test_copied_pictures_are_the_same_bytes(video, tmp_path):
    copy_clip(probe(video), 1.2, 2.0, tmp_path / "clip")

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size]

    assert set(packets(tmp_path / "clip")) <= set(packets(video))


@pytest.mark.parametrize(("name", "codec"), [("s.mp4", "aac"), ("s.mkv", "libopus"), ("s.ts", "aac")])
def test_sound_stays_in_time(tmp_path, name, codec):
    source = with_sound(tmp_path / name, 6, 25, codec)
    info = probe(source)
    exact = exact_clip(info, 2.52, 4.52, tmp_path / "exact")
    assert (shown(tmp_path / "exact")[0][0], exact.start) == (63, Fraction(63, 25))
    assert pitches(tmp_path / "exact", [0.2, 0.7, 1.2, 1.7]) == [800, 1000, 1000, 1200]
    copied = copy_clip(info, 2.52, 4.52, tmp_path / "copied")
    assert (shown(tmp_path / "copied")[0][0], copied.start) == (50, 2)
    assert pitches(tmp_path / "copied", [0.2, 0.7, 1.2, 1.7]) == [800, 800, 1000, 1000]


def test_frames_of_varying_length_keep_their_times(tmp_path):
    ticks = [0, 1, 3, 4, 8, 9, 15, 16, 17, 20]
    source = write_video(tmp_path / "v.mp4", ticks, Fraction(1, 10), b_frames=0)
    clip = exact_clip(probe(source), 0.5, 1.65, tmp_path / "clip")  # frame 3 is shown from 0.4 to 0.8
    assert shown(tmp_path / "clip") == [(3, 0.0), (4, 0.4), (5, 0.5), (6, 1.1), (7, pytest.approx(1.2))]
    assert (clip.start, clip.end) == (Fraction(4, 10), Fraction(17, 10))


@pytest.mark.parametrize("clockwise", [90, 180, 270])
def test_pictures_of_a_turned_video_are_upright(tmp_path, clockwise):
    turned = {90: 1, 180: 2, 270: 3}[clockwise]
    source = constant(tmp_path / "v.mp4", 20, 10, draw=lambda *size: np.rot90(picture_of(*size), turned).copy())
    rotate_track(source, clockwise)
    exact_clip(probe(source), 0.5, 1.0, tmp_path / "clip")
    assert [index for index, _ in shown(tmp_path / "clip")] == [5, 6, 7, 8, 9]


def test_pictures_of_odd_size_are_cut_exactly(tmp_path):
    source = constant(tmp_path / "v.mkv", 10, 10, size=(65, 65), pixel_format="yuv444p")
    exact_clip(probe(source), 0.2, 0.5, tmp_path / "clip")
    assert [index for index, _ in shown(tmp_path / "clip")] == [2, 3, 4]


def test_pictures_for_a_montage_have_one_size_and_rate(video, tmp_path):
    size = PictureSize(height=90, width=160, fps=10)
    exact_clip(probe(video), 1.2, 2.0, tmp_path / "clip", picture=size)
    info = probe(tmp_path / "clip")
    assert (info.height, info.width, info.fps, info.num_frames) == (90, 160, 10, 8)
    indices = [index for index, _ in shown(tmp_path / "clip", left=35)]
    assert indices == [30, 32, 35, 37, 40, 42, 45, 47]  # on the screen at 1.2, 1.3, 1.4, ... s


def test_what_cannot_be_cut_is_said(video, tmp_path):
    with pytest.raises(VideoError, match=r"no picture between 4\.000 and 5\.000 s"):
        frames_between(probe(video), 4.0, 5.0)
    by_order = constant(tmp_path / "v.avi", 100, 25)
    info = probe(by_order)
    assert info.by_order
    with pytest.raises(VideoError, match="--cut exact"):
        copy_clip(info, 1.2, 2.0, tmp_path / "clip")
    exact_clip(info, 1.2, 2.0, tmp_path / "clip")
    assert shown(tmp_path / "clip")[0][0] == 30
