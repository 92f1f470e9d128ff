"""What holds for one container holds for its relatives: parts put together, late key frames, sound, fields in AVI."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.video.joined import boxes
from pipeline.video.metadata import probe
from tests.fields import write_fields
from tests.pipeline.video.test_times import MS, read, regular, without_times
from tests.videos import constant, edit_avi, picture_of, write_video


@pytest.mark.parametrize(("suffix", "codec", "b_frames"), [("mkv", "libx264", 2), ("webm", "libvpx", 0)])
def test_concatenated_matroska_files_follow_each_other(tmp_path, suffix, codec, b_frames):
    one = constant(tmp_path / f"one.{suffix}", 40, 25, codec=codec, b_frames=b_frames)
    other = constant(tmp_path / f"other.{suffix}", 60, 25, codec=codec, b_frames=b_frames)
    both = tmp_path / f"both.{suffix}"
    both.write_bytes(one.read_bytes() + other.read_bytes())
    reading = read(both)
    assert reading.shown == [*range(40), *range(60)]
    assert [abs(start - right) <= MS for start, right in zip(reading.starts, regular(100), strict=True)] == [True] * 100
    assert reading.info.notes == ("restarts of its clock: 1; each part follows the last",)


JOINED = "2 files put together, of which the first alone is read; join them with ffmpeg -f concat -i LIST -c copy OUT"


@pytest.mark.parametrize(("suffix", "codec"), [("flv", "flv"), ("wmv", "wmv2"), ("mp4", "libx264"), ("mov", "mpeg4")])
def test_files_put_together_of_which_only_the_first_is_read_are_named(tmp_path, suffix, codec):
    one = constant(tmp_path / f"one.{suffix}", 40, 25, codec=codec, b_frames=0)
    other = constant(tmp_path / f"other.{suffix}", 60, 25, codec=codec, b_frames=0)
    assert probe(one).notes == ()
    both = tmp_path / f"both.{suffix}"
    both.write_bytes(one.read_bytes() + other.read_bytes())
    reading = read(both)
    assert (reading.shown, reading.info.notes) == (list(range(40)), (JOINED,))


def test_a_part_with_another_number_of_its_stream_is_named(tmp_path):
    one = constant(tmp_path / "one.ts", 40, 25, b_frames=0)
    other = constant(tmp_path / "other.ts", 60, 25, b_frames=0)
    with av.open(str(other)) as container, av.open(str(tmp_path / "renumbered.ts"), "w") as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        stream.id = 0x190
        for packet in container.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + (tmp_path / "renumbered.ts").read_bytes())
    reading = read(both)
    assert reading.shown == list(range(40))
    assert reading.info.notes == ("video streams: 2; that with the index 0 is read",)


def test_outermost_boxes_of_any_length(tmp_path):
    path = tmp_path / "v.mp4"
    long = (1).to_bytes(4, "big") + b"free" + (20).to_bytes(8, "big") + b"moov"  # a length of eight bytes
    path.write_bytes(long + b"\0\0\0\x08moov" + b"\0\0\0\0mdat" + b"\0\0\0\x08moov")  # mdat goes on to the end
    assert list(boxes(path)) == [b"free", b"moov", b"mdat"]


def test_a_long_pause_in_a_matroska_file_is_no_restart(tmp_path):
    times = [0, 40, 90_000, 90_040, 200_000]
    reading = read(write_video(tmp_path / "v.mkv", times, MS))
    assert reading.starts == [Fraction(time, 1000) for time in times]
    assert reading.info.notes == ()


def without_first_packets(source: Path, path: Path, count: int) -> Path:
    """Copy the packets of a file into another, but for the first ones."""
    with av.open(str(source)) as container, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        for number, packet in enumerate(container.demux(video=0)):
            if packet.size and number >= count:
                packet.stream = stream
                out.mux(packet)
    return path


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        ("libvpx", "webm"),
        ("libvpx-vp9", "webm"),
        ("libvpx", "mkv"),
        ("flv", "flv"),
        ("wmv2", "wmv"),
        ("libx265", "mov"),
    ],
)
def test_packets_that_a_decoder_refuses_before_the_first_key_frame_are_no_damage(tmp_path, codec, suffix):
    options = {"x265-params": "bframes=0:keyint=12:min-keyint=12:scenecut=0:log-level=0"} if codec == "libx265" else {}
    whole = constant(tmp_path / f"whole.{suffix}", 60, 25, codec=codec, b_frames=0, options=options)
    reading = read(without_first_packets(whole, tmp_path / f"v.{suffix}", 5))
    assert reading.shown == list(range(12, 60))
    assert reading.report.corrupt_frames == 0
    assert reading.info.notes == ("it begins between key frames; frames at its start that cannot be decoded: 7",)


def with_sound(path: Path, video: str, sound: str, times: list[int], seconds: int) -> Path:
    """Write frames at these tenths of a second and so many seconds of sound."""
    with av.open(str(path), "w") as container:
        pictures, audio = container.add_stream(video, rate=10), container.add_stream(sound, rate=48000, layout="mono")
        audio.codec_context.bit_rate = 64_000
        pictures.width = pictures.height = 64
        pictures.pix_fmt = "yuv420p"
        packets = []
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture_of(index, 64, 64), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 10)
            packets += pictures.encode(frame)
        packets += pictures.encode(None)
        whole = av.AudioFrame.from_ndarray(np.zeros((1, 48000 * seconds), np.int16), format="s16", layout="mono")
        whole.sample_rate, whole.pts = 48000, 0
        resampler = av.AudioResampler(format=audio.format.name, layout="mono", rate=48000, frame_size=1024)
        for piece in [*resampler.resample(whole), *resampler.resample(None)]:
            packets += audio.encode(piece)
        packets += audio.encode(None)
        for packet in sorted(packets, key=lambda packet: (packet.dts * packet.time_base, packet.stream_index)):
            container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("suffix", "video", "sound"),
    [
        ("mkv", "libx264", "pcm_s16le"),
        ("webm", "libvpx", "libopus"),
        ("wmv", "wmv2", "wmav2"),
        ("mp4", "libx264", "aac"),
    ],
)
@pytest.mark.parametrize("times", [[0, 100], list(range(60)), list(range(20, 80))], ids=["two", "plain", "late"])
def test_sound_that_goes_on_after_the_pictures_is_no_lost_end(tmp_path, suffix, video, sound, times):
    reading = read(with_sound(tmp_path / f"v.{suffix}", video, sound, times, seconds=13))
    assert [round(10 * start) for start in reading.starts] == [time - times[0] for time in times]
    assert abs(reading.report.duration - Fraction(times[-1] - times[0] + 1, 10)) <= Fraction(1, 10)


def test_fields_in_an_avi_have_slots_of_their_own(tmp_path):
    path = write_fields(tmp_path / "v.avi", 40, timed="fields")
    reading = read(path)
    assert reading.shown == list(range(40))
    assert (reading.info.fps, reading.report.duration) == (25, Fraction(40, 25))


def test_empty_slots_of_an_avi_are_no_frames_that_lack(tmp_path):
    path = constant(tmp_path / "v.avi", 50, 25, codec="mpeg4", b_frames=0)
    edit_avi(path, lambda k, old: b"" if k % 12 in (4, 5, 6) else old)
    info = probe(path)
    assert (info.notes, info.duration) == ((), 2)


@pytest.mark.parametrize("codec", ["mpeg2video", "libx265"])
def test_frames_without_times_of_other_codecs_lie_between_the_others(tmp_path, codec):
    options = {"x265-params": "bframes=0:keyint=12:log-level=0"} if codec == "libx265" else {}
    path = constant(tmp_path / "v.ts", 60, 25, codec=codec, b_frames=0, options=options)
    reading = read(without_times(path, lambda k: k % 3 == 0))
    assert reading.shown == list(range(60))
    assert (reading.starts, reading.report.duration) == (regular(60), Fraction(60, 25))
