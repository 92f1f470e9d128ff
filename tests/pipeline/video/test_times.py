"""The times of frames in odd containers, and the duration of the last frame."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.video.coded import reader_of
from pipeline.video.container import packets_of
from pipeline.video.decode import Backend, decode
from pipeline.video.errors import VideoError
from pipeline.video.metadata import VideoInfo, probe
from pipeline.video.pictures import Geometry
from pipeline.video.pyav_backend import DecodeCounts, shown_frames
from pipeline.video.report import DecodeReport, refuse_damaged
from tests.fields import write_fields
from tests.pipeline.video.test_decode import PLAN, SPEC
from tests.videos import constant, edit_avi, index_of, not_coded, picture_of, write_video

MS = Fraction(1, 1000)


@dataclass(frozen=True)
class Reading:
    """A decoded video: times in seconds from the first frame, and what each picture shows."""

    info: VideoInfo
    starts: list[Fraction]
    shown: list[int]
    report: DecodeReport


def read(path: Path, *, named: bool = True) -> Reading:
    info = probe(path)
    starts, shown = [], []
    for frame in shown_frames(info, Geometry.of(info, SPEC), DecodeCounts()):
        starts.append(frame.start * info.time_base)
        shown += [index_of(frame.picture())] if named else []
    report = list(decode(info, PLAN, SPEC, backend=Backend("pyav")))[-1]
    assert isinstance(report, DecodeReport)
    refuse_damaged(info, report, max_corrupt=0.0)
    assert info.duration == report.duration
    return Reading(info, starts, shown, report)


def pyav_times(path: Path, stream_index: int = 0) -> list[Fraction]:
    """Return the times of frames according to PyAV, counted from the first."""
    with av.open(str(path)) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(container.streams[stream_index])]
    return [time - times[0] for time in times]


def regular(frames: int, fps: int = 25) -> list[Fraction]:
    return [Fraction(k, fps) for k in range(frames)]


def without_times(path: Path, keep: Callable[[int], bool]) -> Path:
    """Remove the times of the packets of a transport stream whose number `keep` rejects."""
    data, number = bytearray(path.read_bytes()), 0
    for packet in range(0, len(data), 188):
        start = packet + 4 + (1 + data[packet + 4] if data[packet + 3] & 0x20 else 0)
        if data[packet + 1] & 0x40 and data[start : start + 4] == b"\0\0\1\xe0":
            length = data[start + 8]
            if not keep(number):
                data[start + 7] &= 0x3F
                data[start + 9 : start + 9 + length] = b"\xff" * length
            number += 1
    path.write_bytes(data)
    return path


def without_first_packets(path: Path, count: int) -> Path:
    """Write a transport stream that begins `count` video packets later; keep its tables."""
    with av.open(str(path)) as container:
        at = [packet.pos for packet in container.demux(video=0) if packet.size][count]
    data = path.read_bytes()
    path.write_bytes(data[: 3 * 188] + data[at:])
    return path


def fragments(path: Path, kept: slice) -> Path:
    """Write a fragmented MP4 of eight seconds with only some of its fragments of one second."""
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "25", "bf": "0", "qp": "12"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for index in range(200):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture_of(index, 64, 64), format="rgb24")))
        container.mux(stream.encode(None))
    data, boxes, at = path.read_bytes(), [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        boxes.append(data[at : at + size])
        at += size
    moofs = [number for number, box in enumerate(boxes) if box[4:8] == b"moof"]
    pairs = [box for number in moofs[kept] for box in boxes[number : number + 2]]
    path.write_bytes(b"".join(boxes[: moofs[0]] + pairs))
    return path


# --- as PyAV's own frame.pts -------------------------------------------------------------------------------------

UNEVEN = [0, 40, 80, 500, 540, 1900, 1940, 2400]
AWKWARD: dict[str, Callable[[Path], Path]] = {
    "mp4": lambda folder: write_video(folder / "v.mp4", UNEVEN, MS),
    "mkv": lambda folder: write_video(folder / "v.mkv", UNEVEN, MS),
    "ts": lambda folder: write_video(folder / "v.ts", UNEVEN, MS),
    "flv": lambda folder: write_video(folder / "v.flv", UNEVEN, MS),
    "webm": lambda folder: write_video(folder / "v.webm", UNEVEN, MS, codec="libvpx-vp9"),
    "avi": lambda folder: constant(folder / "v.avi", 50, 25, codec="mpeg4"),
    "avi, empty chunks": lambda folder: edit_avi(
        constant(folder / "v.avi", 50, 25, codec="mpeg4", b_frames=0), lambda k, old: b"" if k in (3, 4, 30) else old
    ),
    "avi, not coded": lambda folder: edit_avi(
        constant(folder / "v.avi", 50, 25, codec="mpeg4", b_frames=0),
        lambda k, old: not_coded(k) if k % 12 in (4, 5, 11) else old,
    ),
    "avi, not coded, B-frames": lambda folder: edit_avi(
        constant(folder / "v.avi", 50, 25, codec="mpeg4", b_frames=1), lambda k, old: not_coded(k) if k == 20 else old
    ),
    "ts, between key frames": lambda folder: without_first_packets(constant(folder / "v.ts", 60, 25), 5),
    "fragments 4 to 7": lambda folder: fragments(folder / "v.mp4", slice(4, 8)),
    "fields, mkv": lambda folder: write_fields(folder / "v.mkv", 40, timed="fields"),
    "fields, ts": lambda folder: write_fields(folder / "v.ts", 40, timed="fields"),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_frames_have_the_times_that_pyav_gives(tmp_path, name):
    path = AWKWARD[name](tmp_path)
    assert read(path, named=False).starts == pyav_times(path)


@pytest.mark.real_data
def test_frames_of_real_files_have_the_times_that_pyav_gives(real_data):
    compared = 0
    for path in sorted((real_data / "awkward").iterdir()):
        try:
            info = probe(path)
            times = pyav_times(path, info.stream_index)
        except (VideoError, av.error.FFmpegError):
            continue
        shown = [f.start * info.time_base for f in shown_frames(info, Geometry.of(info, SPEC), DecodeCounts())]
        assert shown == times, path.name
        compared += 1
    assert compared >= 25


@pytest.mark.parametrize("time", [b"\x21\x00\x01\x00\x01", b"\x21\x7f\xff\x00\x01"], ids=["zero", "hours"])
def test_a_single_wrong_time_is_not_believed(tmp_path, time):
    path = write_video(tmp_path / "v.ts", [100 + k for k in range(60)], Fraction(1, 25), b_frames=0)
    data = bytearray(path.read_bytes())
    at = [found.start() for found in re.finditer(b"\0\0\1\xe0", data)][30]
    assert data[at + 7] == 0x80  # a presentation time and nothing else
    data[at + 9 : at + 14] = time
    path.write_bytes(data)
    reading = read(path)
    assert (reading.starts, reading.shown) == (regular(60), list(range(60)))
    assert reading.info.notes == ("frames without a time: 1; they are put between the others",)


def test_packets_after_one_of_a_late_stream_are_read():
    class Late:
        """A container like PyAV's: it raises an error at a packet of a stream that it does not know."""

        packets = iter([1, 2, None, 3, None, 4])  # by size; None: of the unknown stream

        def demux(self):
            for packet in self.packets:
                if packet is None:
                    raise IndexError
                yield av.Packet(packet)

    assert [packet.size for packet in packets_of(Late())] == [1, 2, 3, 4]


@pytest.mark.parametrize("codec", ["h264", "mpeg4", "vp8", "hevc"])
def test_packets_of_nonsense_count_as_pictures_or_nothing(codec):
    rng = np.random.default_rng(0)
    for _ in range(500):
        noise = [rng.integers(0, 256, rng.integers(1, 200), dtype=np.uint8) for _ in range(2)]
        for data in noise:  # start codes, parameter sets, slices and pictures at random places
            for at in rng.integers(0, len(data), 4):
                unit = [0, 0, 1, rng.choice([0x67, 0x68, 0x65, 0x61, 0x20, 0xB6])][: len(data) - at]
                data[at : at + 4] = unit
        extra, stored = (data.tobytes() for data in noise)
        reader = reader_of(codec, (b"\1\x64\0\x1e\xff\xe1" if rng.random() < 0.5 else b"") + extra)
        packet = av.Packet(stored)
        packet.is_keyframe = True
        assert reader.shows(packet) in ("picture", "field", "nothing")
