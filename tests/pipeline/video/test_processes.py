"""Decoder processes end with their pool and their main process, however that happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.events import Failed, Finished
from pipeline.video.pool import DecodePool
from tests.pipeline.video import misbehaving
from tests.pipeline.video.test_decode import PLAN, SPEC
from tests.pipeline.video.test_pool import collect, linux_only
from tests.videos import constant


def wait_until(condition, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@linux_only
@pytest.mark.parametrize("how", ["close", "delete", "pool", "error"])
def test_an_abandoned_iterator_kills_its_workers_at_once(videos, how):
    pool = DecodePool(2, DecodeSettings(SPEC, PLAN))
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
    with DecodePool(1, DecodeSettings(SPEC, PLAN)) as pool:
        first = pool.decode(videos)
        next(first)
        with pytest.raises(PipelineError, match="one sequence of videos at a time"):
            next(pool.decode(videos))
        first.close()
        rows, _ = collect(pool, videos)
    assert len(rows) == 6


@linux_only
def test_workers_ignore_ctrl_c_and_sigterm(videos):
    with DecodePool(2, DecodeSettings(SPEC, PLAN)) as pool:
        seen = []
        sent = False
        for event in pool.decode(videos):
            seen.append(event)
            if not sent and all(process.ready for process in pool._processes):
                sent = True
                for process in pool._processes:
                    os.kill(process.pid, signal.SIGINT)
                    os.kill(process.pid, signal.SIGTERM)
    assert sent
    assert not any(isinstance(event, Failed) for event in seen)
    assert sum(isinstance(event, Finished) for event in seen) == 6


@linux_only
@pytest.mark.parametrize("entry", ["pipeline.video.worker:main", f"{misbehaving.__name__}:misbehaving_worker"])
def test_workers_die_with_a_main_process_that_is_killed_and_leave_nothing_behind(tmp_path, entry):
    name = "v" if entry.startswith("pipeline") else "hang"  # the second one hangs in C code, holding the lock
    path = constant(tmp_path / f"{name}.mp4", 2000, 30)
    script = tmp_path / "script.py"  # no `if __name__ == "__main__"`: the pool must not need one
    script.write_text(
        textwrap.dedent(f"""
        import sys, threading, time
        sys.path[:] = {sys.path!r}
        from pathlib import Path
        from pipeline.video.decode_settings import DecodeSettings
        from pipeline.video.pool import DecodePool
        from pipeline.video.videos import VideoFile
        from tests.pipeline.video.test_decode import PLAN, SPEC
        pool = DecodePool(2, DecodeSettings(SPEC, PLAN), entry={entry!r})
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


def test_processes_that_cannot_start_end_the_job_instead_of_failing_every_video(videos):
    with (
        DecodePool(2, DecodeSettings(SPEC, PLAN), entry=f"{misbehaving.__name__}:worker_that_does_not_start") as pool,
        pytest.raises(PipelineError, match=r"could not be started: .* exit code 1: no module named av"),
    ):
        list(pool.decode(videos))
