"""Times of frames that containers store in odd ways or not at all, against values worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.store_writer import details
from pipeline.video.clock import fill_in
from pipeline.video.decode import Backend, decode
from pipeline.video.metadata import probe
from pipeline.video.videos import VideoFile
from tests.fields import write_fields
from tests.pipeline.video.test_decode import PLAN, SPEC
from tests.pipeline.video.test_times import MS, fragments, read, regular, without_first_packets, without_times
from tests.toys import toy_store_spec
from tests.videos import constant, edit_avi, not_coded, write_video


def test_pictures_that_are_not_coded_leave_the_one_before_in_its_place(tmp_path):
    path = constant(tmp_path / "v.avi", 50, 25, codec="mpeg4", b_frames=0, options={"g": "1"})
    dropped = (4, 5, 11, 48, 49)
    edit_avi(path, lambda k, old: not_coded(k) if k in dropped else old)
    reading = read(path)
    kept = [k for k in range(50) if k not in dropped]
    assert [reading.info.timestamps.tolist(), reading.shown[: len(kept)]] == [kept, kept]
    assert (reading.report.duration, reading.info.fps) == (2, 25)
    assert reading.info.notes == ("pictures that are not coded: 5; the one before stays",)


def pack(chunks: list[bytes], signed: bytes) -> Callable[[int, bytes], bytes]:
    """Store each B-picture with the picture before it and leave a picture that is not coded in its place."""

    def edit(k: int, chunk: bytes) -> bytes:
        start = chunk.index(b"\0\0\1\xb6")
        b_picture = [old[old.index(b"\0\0\1\xb6") + 4] >> 6 == 2 for old in chunks]
        if b_picture[k]:
            return not_coded(k)
        later = chunks[k + 1] if k + 1 < len(chunks) and b_picture[k + 1] else b""
        return chunk[:start] + (signed if k == 0 else b"") + chunk[start:] + later

    return edit


def test_packed_b_pictures_come_in_order(tmp_path):
    path = constant(tmp_path / "v.avi", 40, 25, codec="mpeg4", b_frames=1)
    chunks: list[bytes] = []
    edit_avi(path, lambda k, chunk: (chunks.append(chunk), chunk)[1])
    edit_avi(path, pack(chunks, b"\0\0\1\xb2DivX503b1393p"))
    reading = read(path)
    assert reading.starts == regular(40)
    assert reading.shown == list(range(40))
    assert (reading.report.duration, reading.info.notes) == (Fraction(40, 25), ())


OLD_WRITER = pytest.mark.skipif(int(av.__version__.split(".")[0]) < 18, reason="PyAV 17 writes such pictures as fields")


@pytest.mark.parametrize(
    ("suffix", "timed"),
    [
        *[("mkv", "fields"), ("ts", "fields"), ("ts", "first"), ("h264", "none")],
        pytest.param("mkv", "pictures", marks=OLD_WRITER),
    ],
)
def test_two_fields_are_one_picture(tmp_path, suffix, timed):
    reading = read(write_fields(tmp_path / f"v.{suffix}", 40, timed=timed))
    assert reading.shown == list(range(40))
    assert reading.starts == regular(40)
    assert (reading.info.num_frames, reading.info.fps, reading.report.duration) == (40, 25, Fraction(40, 25))


def test_fragments_from_the_middle_are_whole(tmp_path):
    reading = read(fragments(tmp_path / "v.mp4", slice(4, 8)))
    assert reading.shown == list(range(100, 200))
    assert reading.report.duration == 4
    assert reading.info.notes == ()


def test_a_gap_between_fragments_shows_the_frame_before(tmp_path):
    path = fragments(tmp_path / "v.mp4", slice(0, 8, 2))
    reading = read(path)
    assert (reading.report.duration, len(reading.shown), reading.starts[25]) == (7, 100, 2)


@pytest.mark.parametrize(
    ("codec", "b_frames", "earliest"),
    # The first five stored frames before the key frame 12 are missing: 0 to 4, or 0, 3, 1, 2 and 6.
    [("libx264", 0, 5), ("mpeg4", 0, 5), ("libx264", 2, 4), ("mpeg2video", 2, 4)],
)
def test_frames_before_the_first_key_frame_are_no_damage(tmp_path, codec, b_frames, earliest):
    path = constant(tmp_path / "v.ts", 60, 25, codec=codec, b_frames=b_frames)
    without_first_packets(path, 5)
    reading = read(path)
    assert reading.shown == list(range(12, 60))
    assert reading.report.duration == Fraction(48, 25)
    assert reading.report.corrupt_frames == 0
    assert reading.info.notes == ("it begins between key frames; frames at its start that cannot be decoded: 7",)
    assert reading.report.start_offset == Fraction(12 - earliest, 25)


@pytest.mark.parametrize("later_start", [0, 200])
def test_concatenated_transport_streams_follow_each_other(tmp_path, later_start):
    one = constant(tmp_path / "one.ts", 30, 25)
    other = write_video(tmp_path / "other.ts", [k + 25 * later_start for k in range(50)], Fraction(1, 25))
    for first, second in ((one, other), (other, one)):
        path = tmp_path / "both.ts"
        path.write_bytes(first.read_bytes() + second.read_bytes())
        if first == one and later_start:
            info = probe(path)  # a clock that leaps forward may be a gap in one file: it is believed, and said
            assert info.duration > later_start
            assert "its clock leaps" in info.notes[0]
            continue
        reading = read(path)
        assert reading.starts == regular(80)
        assert reading.shown == [*range(30), *range(50)] if first == one else [*range(50), *range(30)]
        assert reading.report.duration == Fraction(80, 25)
        assert reading.info.notes == ("restarts of its clock: 1; each part follows the last",)


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize(
    "keep",
    [lambda k: k != 37, lambda k: k % 2 == 0, lambda k: k % 12 == 0, lambda k: k > 3, lambda _: False],
    ids=["one", "half", "all but key frames", "the first", "all"],
)
def test_frames_without_times_lie_evenly_between_the_others(tmp_path, keep, b_frames):
    path = without_times(constant(tmp_path / "v.ts", 60, 25, b_frames=b_frames), keep)
    reading = read(path)
    assert reading.shown == list(range(60))
    assert reading.starts == regular(60)
    assert reading.report.duration == Fraction(60, 25)
    assert reading.report.corrupt_frames == 0
    (note,) = reading.info.notes
    assert note.startswith("frames without a time: ")


@pytest.mark.parametrize(
    ("known", "before", "later", "step", "filled"),
    [
        ([0, 100, 400], 0, 2, 100, [0, 100, 200, 300, 400]),
        ([0, 100, 400], 0, 4, 100, [0, 100, 200, 300, 400, 500, 600]),
        ([300, 400], 2, 0, 100, [100, 200, 300, 400]),
        ([0, 90, 100], 0, 2, 1, [0, 30, 60, 90, 100]),  # more would fit: the widest gaps come first
        ([0, 60, 100], 0, 3, 1, [0, 20, 40, 60, 80, 100]),
        ([], 2, 1, 40, [0, 40, 80]),
    ],
)
def test_missing_times_are_filled_in(known, before, later, step, filled):
    assert fill_in(known, before=before, later=later, step=step) == filled


@pytest.mark.parametrize(
    ("suffix", "codec", "duration"),
    [
        ("mp4", "libx264", "10.001"),  # the sample table: one tick of the encoder's clock
        ("mkv", "libx264", "10.001"),  # the track's duration of a frame
        ("flv", "libx264", "10.001"),  # the duration in the header
        ("ts", "libx264", "10.001"),  # the rate that the stream names
        ("avi", "mpeg4", "10.04"),  # one place in the list of frames
    ],
)
def test_two_frames_ten_seconds_apart_are_ten_seconds_and_a_frame(tmp_path, suffix, codec, duration):
    unit = Fraction(1, 25) if suffix == "avi" else MS
    path = write_video(tmp_path / f"v.{suffix}", [0, int(10 / unit)], unit, codec=codec, b_frames=0)
    reading = read(path)
    assert reading.starts == [0, 10]
    assert reading.report.duration == Fraction(duration)


def test_a_screen_recording_without_durations_ends_a_step_after_its_last_frame(tmp_path):
    path = write_video(tmp_path / "v.webm", [0, 40, 1000, 1040, 5000], MS, codec="libvpx-vp9")
    data = bytearray(path.read_bytes())
    for element, size in ((b"\x23\xe3\x83", 4), (b"\x44\x89", 3)):  # DefaultDuration and Duration become void
        at = data.index(element)
        length = (data[at + size - 1] & 0x7F) + size
        data[at : at + length] = b"\xec" + bytes([0x80 | (length - 2)]) + bytes(length - 2)
    path.write_bytes(data)
    assert probe(path).duration == Fraction("5.04")


def test_the_last_picture_of_an_avi_stays_through_its_empty_chunks(tmp_path):
    path = constant(tmp_path / "v.avi", 100, 25, codec="mpeg4", b_frames=0)
    edit_avi(path, lambda k, old: b"" if k >= 50 else old)
    reading = read(path)
    assert (len(reading.starts), reading.report.duration) == (50, 4)


def test_the_time_from_the_first_sound_to_the_first_frame_is_kept(tmp_path):
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("mpeg4", rate=25), container.add_stream("pcm_s16le", rate=8000)
        video.width = video.height = 64
        sound.layout = "mono"
        samples = np.zeros((1, 800), np.int16)
        for k in range(10):
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, 800 * k, Fraction(1, 8000)
            container.mux(sound.encode(frame))
        for k in range(10):
            picture = av.VideoFrame(64, 64, "yuv420p")
            picture.pts, picture.time_base = 15 + k, Fraction(1, 25)
            container.mux(video.encode(picture))
        container.mux([*video.encode(None), *sound.encode(None)])
    info = probe(path)
    report = list(decode(info, PLAN, SPEC, backend=Backend("pyav")))[-1]
    assert report.start_offset == Fraction(15, 25)
    said = details(VideoFile("v", path), report, info.fps, toy_store_spec(ExtractConfig()))
    assert said["start_offset_seconds"] == 0.6
    alone = probe(constant(tmp_path / "alone.mp4", 5, 25))
    assert alone.start == alone.container_start
