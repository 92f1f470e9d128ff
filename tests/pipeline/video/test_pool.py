"""Decoding in processes: every video gets its rows, whatever becomes of the others and of the processes."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
import sys
import textwrap
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.video import decord_backend
from pipeline.video.find import find_videos
from pipeline.video.mail import Line
from pipeline.video.metadata import probe
from pipeline.video.pool import DecodeLimits, DecodePool, Failed, Finished, Snippets, default_workers
from pipeline.video.ranges import VideoRange
from pipeline.video.schedule import most_frames_held
from pipeline.video.videos import VideoFile
from tests.pipeline.video.test_decode import MS, PLAN, SPEC, shown
from tests.videos import constant, flip_bits, index_of, write_video

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
QUICK = DecodeLimits(timeout_seconds=2.5)


def collect(pool: DecodePool, videos) -> tuple[dict[str, list[list[int]]], dict[str, Finished | Failed]]:
    """Id → what its rows show, and id → how it ended; fails when rows are out of order or a video ends twice."""
    rows: dict[str, list[list[int]]] = {}
    ends: dict[str, Finished | Failed] = {}
    for event in pool.decode(videos):
        assert event.video.id not in ends
        if isinstance(event, Snippets):
            have = rows.setdefault(event.video.id, [])
            assert event.first_row == len(have)
            assert event.frames.dtype == np.uint8
            assert event.frames.shape[1:] == (4, 64, 64, 3)
            have += [[index_of(frame) for frame in snippet] for snippet in event.frames]
        else:
            ends[event.video.id] = event
            if isinstance(event, Finished):
                assert event.report.num_snippets == len(rows[event.video.id])
    return rows, ends


def failures(ends: dict[str, Finished | Failed]) -> dict[str, str]:
    return {name: end.kind for name, end in ends.items() if isinstance(end, Failed)}


def expected(frames: int, fps: int = 30) -> list[list[int]]:
    return shown([Fraction(i, fps) for i in range(frames)], Fraction(frames, fps))


@pytest.fixture
def videos(tmp_path) -> list[VideoFile]:
    """Six videos of 10, 20, … 60 frames at 30 frames a second."""
    for number in range(1, 7):
        constant(tmp_path / "videos" / f"v{number}.mp4", 10 * number, 30)
    return find_videos([tmp_path / "videos"])


def wait_until(condition, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Interrupts what takes longer, even a system call that does not return."""

    def interrupt(*_: object) -> None:
        raise TimeoutError(f"not done within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


# --- stubs: decoders that misbehave; the worker runs this module in place of its own main -----------------------------


def _message(text: bytes, ticks: bytes = b"") -> bytes:
    return struct.pack(">II", len(text), len(ticks)) + text + ticks


BABBLE = {
    "babble": b"\x00\x00\x00\x05hello world",
    "half": _message(b'["alive", 0]')[:-3],
    "rows": _message(b'["snippets", [[5, [0, 1, 2, 3]]], 0]'),
    "info": _message(b'["finished", {"path": "x"}, {}]', b"12345678"),
}


def misbehaving_worker() -> None:
    """A worker that does to a video what its name says."""
    from pipeline.video import worker

    real = worker.probe

    def probe(path: Path, **settings):
        if path.stem == "hang":
            ctypes.PyDLL(None).sleep(1000)  # holds the interpreter's lock, as decord does when it spins
        if path.stem == "crash":
            ctypes.string_at(0)
        if path.stem == "hog":
            hoard = []
            while True:
                hoard.append(np.ones(1 << 24, np.uint8))
        if path.stem == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if path.stem == "exit":
            sys.stderr.write(f"[h264 @ {id(path):#x}] the disk is on fire")
            sys.stderr.flush()
            os._exit(3)
        if path.stem in BABBLE:
            os.write(int(sys.argv[3]), BABBLE[path.stem])
            time.sleep(100)
        if path.stem == "drip":
            for byte in _message(b'["alive", 0]'):
                os.write(int(sys.argv[3]), bytes([byte]))
                time.sleep(0.5)
        return real(path, **settings)

    worker.probe = probe
    worker.main()


def worker_that_does_not_start() -> None:
    sys.exit("no module named av")


def deaf_worker() -> None:
    """A worker that says that it is ready and then neither listens nor works."""
    line = Line(int(sys.argv[3]))
    line.receive()
    line.send("ready")
    time.sleep(1000)


# --- the tests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_every_video_gets_its_rows_in_order(videos, workers):
    with DecodePool(workers, SPEC, PLAN) as pool:
        rows, ends = collect(pool, videos)
    assert rows == {f"v{n}": expected(10 * n) for n in range(1, 7)}
    assert failures(ends) == {}
    info = ends["v3"].info
    assert (info.num_frames, info.duration, info.fps, info.codec) == (30, 1, 30, "h264")
    assert ends["v3"].report.duration == 1
    if workers == 1:
        assert list(ends) == [video.id for video in videos]


def test_the_decoder_that_is_asked_for_is_used_and_named(videos):
    for decoder in ("auto", "pyav", "decord") if decord_backend.is_installed() else ("auto", "pyav"):
        with DecodePool(2, SPEC, PLAN, decoder) as pool:
            rows, ends = collect(pool, videos)
        assert {end.report.backend for end in ends.values()} == {"decord" if decoder == "decord" else "pyav"}
        assert rows == {f"v{n}": expected(10 * n) for n in range(1, 7)}


def test_bad_files_cost_only_themselves(videos, tmp_path):
    folder = tmp_path / "videos"
    (folder / "text.mp4").write_text("this is no video")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "list.mp4").write_text("#EXTM3U\nv1.mp4\n")
    with DecodePool(2, SPEC, PLAN) as pool:
        rows, ends = collect(pool, find_videos([folder]))
    assert failures(ends) == {"text": "unreadable", "empty": "unreadable", "list": "refused_container"}
    assert rows == {f"v{n}": expected(10 * n) for n in range(1, 7)}


def test_decoders_that_hang_crash_or_hoard_are_replaced_and_the_rest_is_done(videos, tmp_path):
    kinds = {
        "hang": "timeout", "crash": "crashed", "hog": "out_of_memory", "killed": "out_of_memory", "exit": "crashed",
        **dict.fromkeys(BABBLE, "crashed"), "half": "timeout", "drip": "timeout",
    }  # fmt: skip
    bad = [VideoFile(name, constant(tmp_path / f"{name}.mp4", 10, 30)) for name in kinds]
    mixed = [video for pair in zip_longest(bad, videos) for video in pair if video is not None]
    limits = replace(QUICK, memory_bytes=1 << 28)
    entry = f"{__name__}:misbehaving_worker"
    with within(60), DecodePool(2, SPEC, PLAN, limits=limits, entry=entry) as pool:
        rows, ends = collect(pool, mixed)
    assert failures(ends) == kinds
    assert rows == {f"v{n}": expected(10 * n) for n in range(1, 7)}
    assert "SIGSEGV" in ends["crash"].reason
    assert "no progress for 2.5 s" in ends["hang"].reason
    assert "256 MiB" in ends["hog"].reason
    assert ends["exit"].reason.endswith("exit code 3: [h264] the disk is on fire")
    assert "rows out of order" in ends["rows"].reason


def damaged(path: Path, *, every: int) -> Path:
    constant(path, 300, 30, size=(96, 96), options={"qp": "4"})
    size = path.stat().st_size
    flip_bits(path, range(size // 3, size * 2 // 3, every))
    return path


def test_damage_is_found_and_rows_are_complete(tmp_path):
    path = damaged(tmp_path / "v.mp4", every=20_000)
    counts = {}
    for decoder in ("auto", "pyav"):
        with DecodePool(1, SPEC, PLAN, decoder, DecodeLimits(max_corrupt=0.5)) as pool:
            rows = 0
            for event in pool.decode([VideoFile("v", path)]):
                assert not isinstance(event, Failed), event
                if isinstance(event, Snippets):
                    assert event.first_row == rows
                    rows += len(event.frames)
                else:
                    end = event
        assert rows == end.report.num_snippets == 75
        assert end.report.backend == "pyav"
        counts[decoder] = end.report.corrupt_frames
    assert counts["auto"] == counts["pyav"] > 0


def test_too_much_damage_fails_the_video(tmp_path):
    path = damaged(tmp_path / "v.mp4", every=400)
    with DecodePool(1, SPEC, PLAN, limits=DecodeLimits(max_corrupt=0.05)) as pool:
        *_, end = pool.decode([VideoFile("v", path)])
    assert isinstance(end, Failed)
    assert end.kind == "corrupt"
    assert "of 300 frames are damaged" in end.reason


def test_equal_runs_give_equal_events_to_the_byte(videos, tmp_path):
    videos = [*videos, VideoFile("damaged", damaged(tmp_path / "d.mp4", every=20_000))]

    def run() -> tuple[dict, dict]:
        rows, ends = {}, {}
        with DecodePool(1, SPEC, PLAN, limits=DecodeLimits(max_corrupt=1)) as pool:
            for event in pool.decode(videos):
                if isinstance(event, Snippets):
                    rows[event.video.id] = rows.get(event.video.id, b"") + event.frames.tobytes()
                else:
                    ends[event.video.id] = event
        return rows, ends

    first = run()
    for _ in range(3):
        assert run() == first


# --- flow ----------------------------------------------------------------------------------------------------------


def test_videos_are_taken_one_by_one_as_workers_become_free(tmp_path):
    path = constant(tmp_path / "v.mp4", 40, 30)
    taken = []

    def endless() -> Iterator[VideoFile]:
        while True:
            taken.append(1)
            yield VideoFile(f"v{len(taken)}", path)

    with DecodePool(2, SPEC, PLAN) as pool:
        events = pool.decode(endless())
        ended = Counter(type(next(events)) for _ in range(60))[Finished]
        assert ended >= 2
        assert len(taken) <= ended + 2 * 2 + 1
        events.close()


@linux_only
def test_a_worker_waits_while_nobody_takes_its_frames(tmp_path):
    video = VideoFile("v", constant(tmp_path / "v.mp4", 2000, 30))
    dense = replace(PLAN, num_frames=8)
    with DecodePool(1, replace(SPEC, num_frames=8), dense) as pool:
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
    # One frame for ten minutes: thousands of rows from it, while no frame is decoded, and a consumer that dawdles.
    path = write_video(tmp_path / "v.mkv", [0, 600_000, 600_040], MS, b_frames=0)
    with DecodePool(1, SPEC, PLAN, limits=DecodeLimits(timeout_seconds=2.0)) as pool:
        rows = 0
        for number, event in enumerate(pool.decode([VideoFile("v", path)])):
            assert not isinstance(event, Failed)
            rows += len(event.frames) if isinstance(event, Snippets) else 0
            if number in (1, 50):
                time.sleep(2.5)
    assert rows == PLAN.count(Fraction(60008, 100))


def test_a_frame_that_is_shown_for_hours_gives_all_its_rows(tmp_path):
    # The decoder makes 40,000 rows of it without reading what it is told meanwhile.
    path = write_video(tmp_path / "v.mkv", [0, 5_333_000, 5_333_040], MS, b_frames=0)
    rows = 0
    with within(60), DecodePool(1, SPEC, PLAN) as pool:
        for event in pool.decode([VideoFile("v", path)]):
            if isinstance(event, Snippets):
                assert event.first_row == rows
                rows += len(event.frames)
    assert isinstance(event, Finished)
    assert rows == event.report.num_snippets == 39_998


def test_a_decoder_that_reads_nothing_times_out_although_it_is_sent_much(tmp_path):
    path = constant(tmp_path / "v.mp4", 10, 30)
    video = VideoFile("v", path)
    info = replace(probe(path), timestamps=array("q", range(500_000)))  # 4 MB, many times what a socket holds
    part = VideoRange(id="part", path=path, video=video, first_row=0, end_row=1, num_rows=2, info=info)
    with within(20), DecodePool(1, SPEC, PLAN, limits=QUICK, entry=f"{__name__}:deaf_worker") as pool:
        _, ends = collect(pool, [video, part])
    assert failures(ends) == {"v": "timeout", "part": "timeout"}


# --- processes -----------------------------------------------------------------------------------------------------


@linux_only
@pytest.mark.parametrize("how", ["close", "delete", "pool", "error"])
def test_an_abandoned_iterator_kills_its_workers_at_once(videos, how):
    pool = DecodePool(2, SPEC, PLAN)
    events = pool.decode(videos)
    next(events)
    pids = [process.pid for process in pool._processes]
    assert len(pids) == 2
    assert all(is_running(pid) for pid in pids)
    if how == "close":
        events.close()
    elif how == "delete":
        del events
    elif how == "pool":
        pool.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            events.throw(KeyboardInterrupt())
    assert not any(is_running(pid) for pid in pids)


def test_a_pool_can_be_used_again_but_not_twice_at_once(videos):
    with DecodePool(1, SPEC, PLAN) as pool:
        first = pool.decode(videos)
        next(first)
        with pytest.raises(PipelineError, match="one sequence of videos at a time"):
            next(pool.decode(videos))
        first.close()
        rows, _ = collect(pool, videos)
    assert len(rows) == 6


@linux_only
def test_workers_leave_ctrl_c_and_sigterm_to_the_main_process(videos):
    with DecodePool(2, SPEC, PLAN) as pool:
        seen = []
        told = False
        for event in pool.decode(videos):
            seen.append(event)
            if not told and all(process.ready for process in pool._processes):
                told = True
                for process in pool._processes:
                    os.kill(process.pid, signal.SIGINT)
                    os.kill(process.pid, signal.SIGTERM)
    assert told
    assert not any(isinstance(event, Failed) for event in seen)
    assert sum(isinstance(event, Finished) for event in seen) == 6


@linux_only
@pytest.mark.parametrize("entry", ["pipeline.video.worker:main", f"{__name__}:misbehaving_worker"])
def test_workers_die_with_a_main_process_that_is_killed_and_leave_nothing_behind(tmp_path, entry):
    name = "v" if entry.startswith("pipeline") else "hang"  # the second one hangs in C code, holding the lock
    path = constant(tmp_path / f"{name}.mp4", 2000, 30)
    script = tmp_path / "script.py"  # no `if __name__ == "__main__"`: the pool must not need one
    script.write_text(
        textwrap.dedent(f"""
        import sys, threading, time
        sys.path[:] = {sys.path!r}
        from pathlib import Path
        from pipeline.video.pool import DecodePool
        from pipeline.video.videos import VideoFile
        from tests.pipeline.video.test_decode import PLAN, SPEC
        pool = DecodePool(2, SPEC, PLAN, entry={entry!r})
        events = pool.decode([VideoFile(str(i), Path({str(path)!r})) for i in range(2)])
        threading.Thread(target=lambda: (time.sleep(1), print(*[p.pid for p in pool._processes], flush=True))).start()
        for event in events:
            time.sleep(100)
        """)
    )
    shared = set(Path("/dev/shm").iterdir())
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    assert all(is_running(pid) for pid in pids)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: not any(is_running(pid) for pid in pids))
    assert set(Path("/dev/shm").iterdir()) <= shared


def test_processes_that_cannot_start_end_the_job_rather_than_fail_every_video(videos):
    with (
        DecodePool(2, SPEC, PLAN, entry=f"{__name__}:worker_that_does_not_start") as pool,
        pytest.raises(PipelineError, match=r"could not be started: .* exit code 1: no module named av"),
    ):
        list(pool.decode(videos))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "workers must be >= 1, got 0"),
        ({"threads": 0}, "threads must be >= 1"),
        ({"decoder": "ffmpeg"}, "decoder must be one of auto, decord, pyav, got 'ffmpeg'"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(PipelineError, match=message):
        DecodePool(**{"workers": 1, "spec": SPEC, "plan": PLAN, **settings})


@pytest.mark.parametrize("settings", [{"max_corrupt": 1.5}, {"max_corrupt": -0.1}, {"timeout_seconds": 0}])
def test_limits_are_checked(settings):
    with pytest.raises(PipelineError, match=next(iter(settings))):
        DecodeLimits(**settings)


def test_decord_that_is_not_installed_cannot_be_asked_for(monkeypatch):
    monkeypatch.setattr(decord_backend, "is_installed", lambda: False)
    with pytest.raises(PipelineError, match="not installed"):
        DecodePool(1, SPEC, PLAN, "decord")


def test_the_default_number_of_workers_is_sensible():
    assert 1 <= default_workers() <= 16
    assert DecodePool(None, SPEC, PLAN).workers == default_workers()
