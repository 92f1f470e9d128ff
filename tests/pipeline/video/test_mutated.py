"""Randomly damaged videos: the job ends, memory is bounded, each video is done or has failed.

The figures of the long run: `pytest tests/pipeline/video/test_mutated.py -m slow -s`.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter, defaultdict
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import av
import pytest

from pipeline.extraction.config import ExtractConfig
from pipeline.stages.extract import extract
from pipeline.store.tools.verify import verify_store
from pipeline.video.container import packets_of
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.events import Failed, Snippets
from pipeline.video.find import find_videos
from pipeline.video.limits import DecodeLimits
from pipeline.video.pool import DecodePool
from pipeline.video.videos import VideoFile
from tests.pipeline.video.test_pool import within
from tests.toys import TOY_SPEC, use_toy_encoder
from tests.videos import constant

# Suffix and codec of each sound video; "frag" is an MP4 in fragments.
SOURCES = (
    ("mp4", "libx264"), ("frag", "libx264"), ("mov", "mpeg4"), ("mkv", "libx264"), ("mkv", "libx265"),
    ("webm", "libvpx"), ("webm", "libvpx-vp9"), ("avi", "mpeg4"), ("avi", "mjpeg"), ("ts", "libx264"),
    ("ts", "mpeg2video"), ("mpg", "mpeg1video"), ("flv", "flv"), ("asf", "wmv2"),
)  # fmt: skip
# Bytes before the numbers in headers of MP4, AVI, Matroska (codes of elements), ASF and FLV; else the beginning.
NAMES = [
    *(b"mvhd", b"tkhd", b"mdhd", b"elst", b"stts", b"ctts", b"stsz", b"stsc", b"stco", b"avc1", b"avcC", b"moof"),
    *(b"tfhd", b"trun", b"avih", b"strh", b"strf", b"idx1", b"movi", b"\x2a\xd7\xb1", b"\x44\x89", b"\x1f\x43\xb6\x75"),
    *(b"\x16\x54\xae\x6b", b"\xa1\xdc\xab\x8c", b"onMetaData", b"duration"),
]
PLAN = ExtractConfig(stride_seconds=0.1).plan(TOY_SPEC)
EXTREMES = (0, 1, 2, 255, 65_535, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


def flip_bits(data: bytearray, chance: random.Random) -> None:
    for _ in range(2 ** chance.randrange(10)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def truncate(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(1, len(data)) :]


def cut_out(data: bytearray, chance: random.Random) -> None:
    first = chance.randrange(len(data))
    del data[first : first + chance.randrange(1, len(data) // 4)]


def lie(data: bytearray, chance: random.Random) -> None:
    """Put extreme numbers into headers."""
    for _ in range(chance.randrange(1, 4)):
        places = [place for name in NAMES if (place := data.find(name)) >= 0]
        place = (chance.choice(places) if places else 0) + chance.randrange(96 if places else 512)
        value = chance.choice((*EXTREMES, chance.randrange(1 << 32)))
        size = chance.choice((1, 2, 4, 8))
        content = (value % (1 << 8 * size)).to_bytes(size, chance.choice(("big", "little")))
        data[place : place + size] = content


MUTATIONS = (flip_bits, truncate, cut_out, lie)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> list[Path]:
    """Small videos of several containers and codecs, two seconds each."""
    folder = tmp_path_factory.mktemp("sound")
    paths = []
    for suffix, codec in SOURCES:
        path = folder / f"{suffix}_{codec}.{'mp4' if suffix == 'frag' else suffix}"
        fps = 25 if suffix in ("mpg", "ts") else 10
        constant(path, 2 * fps, fps, codec=codec, pixel_format="yuvj420p" if codec == "mjpeg" else "yuv420p")
        paths.append(in_fragments(path) if suffix == "frag" else path)
    return paths


def in_fragments(path: Path) -> Path:
    target = path.with_name("fragments.mp4")
    with av.open(str(path)) as source, av.open(str(target), "w", options={"movflags": "frag_every_frame"}) as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    return target


def write_mutated(sound: list[Path], folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        chance = random.Random(number)
        source, mutation = sound[number % len(sound)], MUTATIONS[number // len(sound) % len(MUTATIONS)]
        data = bytearray(source.read_bytes())
        mutation(data, chance)
        (folder / f"{number:04}_{mutation.__name__}_{source.stem}{source.suffix}").write_bytes(data)


def peak_megabytes(process: int | str) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return 0.0
    return max((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), default=0.0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory from Linux")
@pytest.mark.parametrize("count", [pytest.param(60, id="60"), pytest.param(1000, id="1000", marks=pytest.mark.slow)])
def test_mutated_videos_end_as_done_or_failed_within_time_and_memory(sound, tmp_path, monkeypatch, count):
    use_toy_encoder(monkeypatch, batch_size=64)
    write_mutated(sound, tmp_path / "videos", count)
    before, decoders, ended = peak_megabytes("self"), 0.0, ""

    def report(_: float, text: str) -> None:
        nonlocal decoders, ended
        if text.split()[0] != ended:  # "12/60 videos, …"
            ended = text.split()[0]
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            decoders = max([decoders, *map(peak_megabytes, children)])

    config = ExtractConfig(stride_seconds=0.1, workers=2, timeout_seconds=20)
    start = time.monotonic()
    with within(3.0 * count + 60):
        store, summary = extract([tmp_path / "videos"], tmp_path / "store", config, report=report)
    seconds, growth = time.monotonic() - start, peak_megabytes("self") - before

    kinds = Counter(reason.split(":")[0] for reason in summary.failed.values())
    sys.stdout.write(
        f"\n{count} videos: {summary.done} done with {summary.snippets} rows, failed {dict(kinds.most_common())}; "
        f"{seconds:.0f} s; decoders at most {decoders:.0f} MB, the main process {growth:.0f} MB more than before\n"
    )
    assert summary.done + len(summary.failed) == count
    assert summary.done > count // 10
    assert len(summary.failed) > count // 10
    assert not [reason for reason in summary.failed.values() if "exit code 1" in reason], "an exception of our own"
    assert verify_store(store) == []
    assert decoders < (DecodeLimits().memory_bytes >> 20) + 200
    assert growth < 500


def ends_of(videos: list[VideoFile], workers: int) -> dict[str, tuple]:
    """Return how each video ends, to the byte."""
    pixels, ends = defaultdict(sha256), {}
    with DecodePool(workers, DecodeSettings(TOY_SPEC, PLAN, limits=DecodeLimits(max_seconds=600))) as pool:
        for event in pool.decode(videos):
            if isinstance(event, Snippets):
                pixels[event.video.id].update(event.frames.tobytes())
            elif isinstance(event, Failed):
                ends[event.video.id] = (event.kind, event.reason)
            else:
                ends[event.video.id] = (event.info, event.report, pixels[event.video.id].digest())
    return ends


def test_the_end_of_a_video_depends_neither_on_earlier_videos_nor_on_timing(sound, tmp_path):
    write_mutated(sound, tmp_path / "videos", 4 * len(SOURCES))
    videos = list(find_videos([tmp_path / "videos"]))
    first, second = ends_of(videos, 1), ends_of(videos[::-1], 3)
    assert {name: end for name, end in second.items() if end != first[name]} == {}
    assert len(first) == len(second) == len(videos)


def test_a_stream_that_begins_in_the_middle_of_a_file_does_not_spoil_its_end():
    one, flush = SimpleNamespace(size=9, dts=0), SimpleNamespace(size=0, dts=None)

    def demux(*streams):
        yield from streams
        raise IndexError("list index out of range")  # as PyAV does or does not, by what lies in memory

    assert list(packets_of(SimpleNamespace(demux=demux), one, flush)) == [one, flush]


def test_the_sound_videos_are_done(sound, tmp_path, monkeypatch):
    use_toy_encoder(monkeypatch)
    _, summary = extract(sound, tmp_path / "store", ExtractConfig(stride_seconds=0.1, workers=1))
    assert (summary.failed, summary.done, summary.snippets) == ({}, len(SOURCES), 20 * len(SOURCES))
