"""The log of a job, and how other processes on the same store use it."""

import json
import os
import random
import time

import pytest

from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.run_log import RunLog
from pipeline.stages.extract import extract
from tests.pipeline.stages.test_stages import gray_video
from tests.toys import use_toy_encoder


def log_of(folder, name: str, *events: str, age_seconds: float = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"event": event}) + "\n" for event in events))
    os.utime(path, (time.time() - age_seconds,) * 2)


def ids_done(store) -> list[str]:
    lines = [json.loads(line) for log in (store / "logs").glob("*.jsonl") for line in log.read_text().splitlines()]
    return [line["id"] for line in lines if line["event"] == "done"]


@pytest.mark.parametrize(
    ("events", "age_seconds", "running"),
    [
        (["start"], 0, True),
        (["start", "done"], 60, True),
        (["start", "done"], 3600, False),  # killed, long ago
        (["start", "end"], 0, False),
        (["start", "interrupted"], 0, False),
        ([], 0, True),  # begun at this moment
    ],
)
def test_a_process_is_at_work_while_its_log_is_young_and_has_no_end(tmp_path, events, age_seconds, running):
    log = RunLog(tmp_path)
    log.write("start")
    assert not log.others_at_work()
    log_of(tmp_path, "other", *events, age_seconds=age_seconds)
    assert log.others_at_work() == running


def test_next_to_another_process_a_job_starts_at_a_random_place_and_does_all(tmp_path, monkeypatch):
    use_toy_encoder(monkeypatch)
    for name in "abcde":
        gray_video(tmp_path / "videos" / f"{name}.mp4", 4)
    config = ExtractConfig(workers=1)
    extract([tmp_path / "videos"], tmp_path / "alone", config)
    assert ids_done(tmp_path / "alone") == list("abcde")
    log_of(tmp_path / "shared" / "logs", "other", "start")
    monkeypatch.setattr(random.SystemRandom, "randrange", lambda self, count: 3)
    store, _ = extract([tmp_path / "videos"], tmp_path / "shared", config)
    assert ids_done(tmp_path / "shared") == list("deabc")
    assert store.fingerprint() == extract([tmp_path / "videos"], tmp_path / "alone", config)[0].fingerprint()
