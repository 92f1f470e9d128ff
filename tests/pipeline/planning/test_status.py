"""`status`, computed from the logs and the listings of a store."""

import json
import os
import re
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.commandline.commands import jobs
from pipeline.commandline.status_text import lines, prometheus_lines
from pipeline.extraction import run_log as runlog
from pipeline.extraction.config import ExtractConfig
from pipeline.planning.status import JobStatus, Worker, latest, read_worker, status_of
from pipeline.stages.extract import extract
from pipeline.storage.temporary_names import this_process
from pipeline.store.feature_store import FeatureStore
from pipeline.text.table import duration
from tests.pipeline.stages.test_stages import gray_video
from tests.stores import make_store
from tests.toys import use_toy_encoder

NOW = 1_700_000_000.0
SUMS = {"done": 0, "skipped": 0, "failed": 0, "snippets": 0, "bytes": 0, "bytes_skipped": 0}


def log_of(store: Path, name: str, *events: tuple[float, str, dict]) -> Path:
    """Write a log whose lines are a number of seconds older than NOW."""
    path = store / "logs" / f"20231114T000000Z-{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        {"time": datetime.fromtimestamp(NOW - ago, timezone.utc).isoformat(), "event": event, **fields}
        for ago, event, fields in events
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def start(*, shard: str = "1/1", videos: int = 10, size: int = 1000, process: str = "elsewhere-1-7") -> dict:
    return {"videos": videos, "bytes": size, "process": process, "settings": {"shard": shard, "timeout_seconds": 120.0}}


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    return make_store(tmp_path / "store", {f"v{n}": np.zeros((3, 4), np.float32) for n in range(4)})


def test_sums_and_rates_are_those_of_the_last_ten_minutes(store):
    log = log_of(
        store.path,
        "host-7",
        (7200, "start", start()),
        (650, "progress", {**SUMS, "done": 1, "snippets": 50, "bytes": 100}),
        (500, "progress", {**SUMS, "done": 2, "snippets": 100, "bytes": 300}),
        (20, "progress", {**SUMS, "done": 3, "failed": 1, "snippets": 180, "bytes": 500}),
        (10, "done", {"id": "x", "snippets": 20, "bytes": 100}),
    )
    worker = read_worker(log, now=NOW)
    assert (worker.name, worker.state, worker.videos) == ("host-7", "working", 10)
    assert worker.sums == {**SUMS, "done": 4, "failed": 1, "snippets": 200, "bytes": 600}
    # From the line of 500 seconds ago: two videos and 100 snippets more, and 300 of 1,000 bytes.
    assert worker.rates["done"] == pytest.approx(2 / 500)
    assert worker.rates["snippets"] == pytest.approx(100 / 500)
    assert worker.seconds_left == pytest.approx(400 / (300 / 500))


def test_what_was_done_before_does_not_count_as_speed(store):
    sums = {**SUMS, "skipped": 8, "done": 1, "bytes": 900, "bytes_skipped": 800}
    log = log_of(store.path, "host-7", (100, "start", start()), (1, "progress", sums))
    assert read_worker(log, now=NOW).seconds_left == pytest.approx(100 / (100 / 100))


@pytest.mark.parametrize(
    ("events", "process", "state"),
    [
        ([(250, "done")], "elsewhere-1-7", "working"),
        ([(301, "done")], "elsewhere-1-7", "silent"),  # the limit of 120 s, and three minutes
        ([(1, "done")], None, "working"),
        ([(1, "done")], "gone", "dead"),
        ([(900, "done"), (800, "end")], "elsewhere-1-7", "ended"),
        ([(9, "interrupted")], "elsewhere-1-7", "interrupted"),
    ],
)
def test_states_of_a_worker(store, events, process, state):
    if process == "gone":
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        process = this_process().rpartition("-")[0] + f"-{child}"
    given = start(process=process or this_process())
    log = log_of(store.path, "host-7", (1000, "start", given), *((ago, event, {}) for ago, event in events))
    assert read_worker(log, now=NOW).state == state


def worker_of(
    name: str, started: float, last: float, *, shard: str = "1/1", state: str = "working", **fields
) -> Worker:
    given = {"videos": 10, "total_bytes": 1000, "sums": dict(SUMS), "rates": dict.fromkeys(SUMS, 0.0)}
    return Worker(name=name, shard=shard, state=state, started=started, last=last, **{**given, **fields})


def test_the_latest_job_is_the_last_process_and_those_at_work_at_the_same_time():
    old = worker_of("old", 0, 10, state="ended")
    killed = worker_of("killed", 100, 150, state="dead", shard="1/3")
    successor = worker_of("successor", 160, 500, shard="1/3")
    beside = worker_of("beside", 110, 300, state="ended", shard="2/3")
    lost = worker_of("lost", 105, 130, state="silent", shard="3/3")
    assert [w.name for w in latest([beside, old, successor, killed, lost])] == ["lost", "beside", "successor"]
    assert latest([old]) == (old,)
    assert latest([]) == ()


def job(*workers: Worker, done: int = 4, failed: int = 0, videos: int = 10) -> JobStatus:
    return JobStatus(store=Path("s"), videos=videos, done=done, failed=failed, workers=workers, now=NOW)


def test_the_end_is_foreseen_by_bytes_for_parts_and_by_number_for_workers_on_the_same_videos():
    rates = {**dict.fromkeys(SUMS, 0.0), "bytes": 2.0, "done": 0.25}
    half = worker_of("a", 0, NOW, shard="1/2", sums={**SUMS, "bytes": 500}, rates=rates)
    more = worker_of("b", 0, NOW, shard="2/2", sums={**SUMS, "bytes": 900}, rates=rates)
    assert job(half, more).seconds_left == pytest.approx(250)
    both = [worker_of(name, 0, NOW, sums={**SUMS, "bytes": 500}, rates=rates) for name in "ab"]
    assert job(*both, done=4, failed=1).seconds_left == pytest.approx(5 / 0.5)
    unknown = worker_of("c", 0, NOW, shard="3/3")
    assert job(half, unknown).seconds_left is None
    assert job(worker_of("d", 0, NOW, state="ended")).seconds_left is None


def test_a_store_without_logs_and_torn_or_foreign_logs_are_no_reason_to_fail(store):
    assert status_of(store, now=NOW).workers == ()
    (store.path / "logs").mkdir()
    (store.path / "logs" / "x-host-1.jsonl").write_text('{"time": "2023')
    (store.path / "logs" / "x-host-2.jsonl").write_text('[1]\n{"event": "start"}\n')
    log_of(store.path, "host-7", (5, "start", start())).open("a").write('{"time": "2023-11-')
    found = status_of(store, now=NOW)
    assert (found.done, found.videos, [w.name for w in found.workers]) == (4, 10, ["host-7"])


def test_text_tells_dead_workers_and_the_time_left(store):
    rates = {**dict.fromkeys(SUMS, 0.0), "bytes": 1.0, "done": 0.01, "snippets": 5.0}
    working = worker_of("a-1", 0, NOW, shard="1/2", sums={**SUMS, "bytes": 400, "done": 3}, rates=rates)
    dead = worker_of("b-2", 0, NOW - 400, shard="2/2", state="dead")
    text = "\n".join(lines(job(working, dead, videos=20)))
    assert "4 videos done, 0 failed, of 20; 1 of 2 workers at work, 36 videos an hour, 5.0 snippets/s" in text
    assert "about 10.0 min left" in text
    assert "b-2 (part 2/2): 0 done, 0 skipped, 0 failed of 10; DEAD since 6.7 min" in text


def test_prometheus_text_is_its_format():
    sums = {**SUMS, "done": 3, "snippets": 50}
    worker = worker_of('h"o\\st-1', 0, 12.5, sums=sums)
    text = "\n".join(prometheus_lines(job(worker)))
    # One line: name, labels with ", \ and line ends escaped, a number (the text format, version 0.0.4).
    sample = re.compile(r'sola_pipeline_\w+\{(\w+="([^"\\\n]|\\["\\n])*",?)*\} -?[0-9.e+]+')
    for line in text.splitlines():
        assert sample.fullmatch(line) or re.fullmatch(r"# (HELP|TYPE) sola_pipeline_\w+ .+", line), line
    assert 'sola_pipeline_videos{store="s",state="done"} 4' in text
    assert r'sola_pipeline_worker_snippets_total{store="s",worker="h\"o\\st-1",shard="1/1"} 50' in text
    assert r'sola_pipeline_worker_up{store="s",worker="h\"o\\st-1",shard="1/1"} 1' in text
    typed = re.findall(r"# TYPE (\w+)", text)
    assert len(typed) == len(set(typed))
    assert {line.split("{")[0] for line in text.splitlines() if not line.startswith("#")} == set(typed)


def test_a_job_is_followed_from_its_own_log(tmp_path, monkeypatch):
    """With a line of sums at every report, the status equals the job's work, in the middle and at the end."""
    use_toy_encoder(monkeypatch)
    monkeypatch.setattr(runlog, "PROGRESS_SECONDS", 0.0)
    for name in "abc":
        gray_video(tmp_path / "videos" / f"{name}.mp4", 12)
    (tmp_path / "videos" / "d.mp4").write_text("no video")
    seen = []

    def look(share: float, text: str) -> None:
        seen.append(status_of(FeatureStore.open(tmp_path / "store"), now=time.time()))

    store, summary = extract([tmp_path / "videos"], tmp_path / "store", ExtractConfig(workers=1), report=look)
    assert all(one.videos == 4 and [w.state for w in one.workers] == ["working"] for one in seen)
    assert [one.workers[0].sums["snippets"] for one in seen] == sorted(one.workers[0].sums["snippets"] for one in seen)
    assert any(one.seconds_left for one in seen)
    last = status_of(store, now=time.time())
    assert (last.done, last.failed, last.videos, last.workers[0].state) == (3, 1, 4, "ended")
    assert last.workers[0].sums["snippets"] == summary.snippets == 9
    total = sum(path.stat().st_size for path in (tmp_path / "videos").iterdir())
    assert last.workers[0].sums["bytes"] == last.workers[0].total_bytes == total


def test_the_command_tells_once_or_until_the_end(store, monkeypatch, capsys):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    log = log_of(store.path, "host-7", (5, "start", start()))
    monkeypatch.setattr(jobs.time, "time", lambda: NOW)

    def end(seconds: float) -> None:
        log.open("a").write(json.dumps({"time": "2023-11-14T22:13:20+00:00", "event": "end", **SUMS, "done": 4}) + "\n")

    monkeypatch.setattr(jobs.time, "sleep", end)
    for words, expected in (
        (["--prometheus"], 'worker_up{store="'),
        ([], "1 of 1 worker at work"),
        (["--watch"], "ended"),
    ):
        with pytest.raises(SystemExit) as exit_info:
            main(["status", str(store.path), *words])
        assert not exit_info.value.code
        assert expected in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit_info:
        main(["status", str(store.path), "--watch", "--prometheus"])
    assert exit_info.value.code == 2


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (119, "119.0 s"), (120, "2.0 min"), (7200, "2.0 h"), (864000, "10.0 days")]
)
def test_durations_are_told_in_the_unit_that_suits_them(seconds, text):
    assert duration(seconds) == text
