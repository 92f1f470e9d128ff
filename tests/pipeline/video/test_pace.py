"""Decoders and consumers of different speed: no decoder runs ahead, and none is given up too early or too late."""

from __future__ import annotations

import os
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.events import Failed, Finished, Snippets
from pipeline.video.limits import DecodeLimits
from pipeline.video.metadata import probe
from pipeline.video.pool import DecodePool
from pipeline.video.ranges import VideoRange
from pipeline.video.schedule import most_frames_held
from pipeline.video.videos import VideoFile
from tests.pipeline.video import misbehaving
from tests.pipeline.video.test_decode import MS, PLAN, SPEC
from tests.pipeline.video.test_pool import QUICK, collect, failures, linux_only, within
from tests.videos import constant, write_video


def test_videos_are_taken_one_by_one_as_workers_become_free(tmp_path):
    path = constant(tmp_path / "v.mp4", 40, 30)
    taken = []

    def endless() -> Iterator[VideoFile]:
        while True:
            taken.append(1)
            yield VideoFile(f"v{len(taken)}", path)

    with DecodePool(2, DecodeSettings(SPEC, PLAN)) as pool:
        events = pool.decode(endless())
        ended = Counter(type(next(events)) for _ in range(60))[Finished]
        assert ended >= 2
        assert len(taken) <= ended + 2 * 2 + 1
        events.close()


@linux_only
def test_a_worker_waits_until_its_frames_are_taken(tmp_path):
    video = VideoFile("v", constant(tmp_path / "v.mp4", 2000, 30))
    dense = replace(PLAN, num_frames=8)
    with DecodePool(1, DecodeSettings(replace(SPEC, num_frames=8), dense)) as pool:
        events = pool.decode([video])
        taken = len(next(events).frames)
        worker = pool._processes[0]
        time.sleep(0.5)
        before = cpu_seconds(worker.pid)
        time.sleep(0.5)
        assert cpu_seconds(worker.pid) - before < 0.1
        assert len(worker._ring) <= most_frames_held(dense) + 64
        assert sum(len(event.frames) for event in events if isinstance(event, Snippets)) == 500 - taken


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_signs_of_life_keep_a_slow_video_alive(tmp_path):
    # One frame for ten minutes gives thousands of rows while no frame is decoded; the consumer is slow.
    path = write_video(tmp_path / "v.mkv", [0, 600_000, 600_040], MS, b_frames=0)
    with DecodePool(1, DecodeSettings(SPEC, PLAN, limits=DecodeLimits(timeout_seconds=2.0))) as pool:
        rows = 0
        for number, event in enumerate(pool.decode([VideoFile("v", path)])):
            assert not isinstance(event, Failed)
            rows += len(event.frames) if isinstance(event, Snippets) else 0
            if number in (1, 50):
                time.sleep(2.5)
    assert rows == PLAN.count(Fraction(60008, 100))


def test_a_frame_that_is_shown_for_hours_gives_all_its_rows(tmp_path):
    # The decoder makes 40,000 rows of it without reading its messages meanwhile.
    path = write_video(tmp_path / "v.mkv", [0, 5_333_000, 5_333_040], MS, b_frames=0)
    rows = 0
    with within(60), DecodePool(1, DecodeSettings(SPEC, PLAN)) as pool:
        for event in pool.decode([VideoFile("v", path)]):
            if isinstance(event, Snippets):
                assert event.first_row == rows
                rows += len(event.frames)
    assert isinstance(event, Finished)
    assert rows == event.report.num_snippets == 39_998


def test_a_decoder_that_reads_nothing_times_out_even_if_it_is_sent_much(tmp_path):
    path = constant(tmp_path / "v.mp4", 10, 30)
    video = VideoFile("v", path)
    info = replace(probe(path), timestamps=array("q", range(500_000)))  # 4 MB, many times what a socket holds
    part = VideoRange(id="part", path=path, video=video, first_row=0, end_row=1, num_rows=2, info=info)
    with (
        within(20),
        DecodePool(1, DecodeSettings(SPEC, PLAN, limits=QUICK), entry=f"{misbehaving.__name__}:deaf_worker") as pool,
    ):
        _, ends = collect(pool, [video, part])
    assert failures(ends) == {"v": "timeout", "part": "timeout"}
