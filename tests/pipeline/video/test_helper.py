"""A helper process answers, and what goes wrong in it is one line: the next question starts another one."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.video.errors import VideoError
from pipeline.video.helper import Helper, serve, signs_of_life
from pipeline.video.mail import Line, Message


def main() -> None:
    """Run a process that does what the name of each message says."""
    serve(_work)


def _work(line: Line, message: Message) -> None:
    if message.name == "echo":
        line.send("echoed", *message.values, os.getpid(), dict(os.environ))
    elif message.name == "raise":
        kinds = {"video": VideoError("corrupt", "no keyframe"), "gone": PipelineError("no such source")}
        kinds |= {"value": ValueError("7 is odd"), "empty": ZeroDivisionError(), "memory": MemoryError()}
        raise kinds[message.values[0]]
    elif message.name == "crash":
        os.write(2, b"the disk is on fire\n")
        ctypes.string_at(0)
    elif message.name == "hang":
        ctypes.PyDLL(None).sleep(1000)  # holds the interpreter's lock
    elif message.name == "toil":
        alive, begun = signs_of_life(line), time.monotonic()
        while time.monotonic() - begun < message.values[0]:
            time.sleep(0.05)
            alive()
        line.send("echoed")
    elif message.name == "lie":
        line.send(*message.values)


@pytest.fixture
def helper():
    with Helper("tests.pipeline.video.test_helper:main", patience_seconds=20.0) as started:
        yield started


def ask(helper: Helper, name: str, *values: object) -> list:
    helper.ask(name, *values)
    return helper.answer("echoed").values


def process_of(helper: Helper) -> int:
    return ask(helper, "echo")[-2]


def test_one_process_answers_all_questions_without_credentials(helper, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    first, second = ask(helper, "echo", 1, "a\udcff"), ask(helper, "echo", None)
    assert first[:2] == [1, "a\udcff"] and second[0] is None
    assert first[-2] == second[-2] != os.getpid()
    assert "AWS_SECRET_ACCESS_KEY" not in first[-1]


@pytest.mark.parametrize(
    ("which", "kind", "reason"),
    [
        ("video", "corrupt", "no keyframe"),
        ("gone", "unreadable", "no such source"),
        ("value", "decode_error", "7 is odd"),
        ("empty", "decode_error", "ZeroDivisionError"),
        ("memory", "out_of_memory", "more than 4096 MiB"),
    ],
)
def test_an_error_is_the_answer_and_the_process_goes_on(helper, which, kind, reason):
    before = process_of(helper)
    with pytest.raises(VideoError, match=reason) as raised:
        ask(helper, "raise", which)
    assert raised.value.kind == kind
    assert process_of(helper) == before


def test_after_a_crash_another_process_answers(helper):
    before = process_of(helper)
    with pytest.raises(VideoError, match="crashed: the decoder's process was ended by SIGSEGV: the disk is on fire"):
        ask(helper, "crash")
    assert process_of(helper) != before


def test_a_silent_process_is_killed(helper):
    before = process_of(helper)
    helper._patience = 0.5
    with pytest.raises(VideoError, match=r"timeout: no progress for 0\.5 s"):
        ask(helper, "hang")
    assert not Path(f"/proc/{before}").exists()
    helper._patience = 20.0
    assert process_of(helper) != before


def test_a_process_that_shows_signs_of_life_is_waited_for(helper):
    process_of(helper)
    helper._patience = 1.0
    assert ask(helper, "toil", 2.0) == []


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (["else"], "sent 'else'"),
        (["failed", "a kind of its own", "x"], "failed, with"),
        (["failed"], "failed, with"),
        (["failed", ["corrupt"], "x"], "failed, with"),
        (["echoed", "no number"], "sent what it should not"),
    ],
)
def test_what_a_process_sends_is_not_trusted(helper, lie, reason):
    helper.ask("lie", *lie)
    with pytest.raises(VideoError, match=reason) as raised, helper.distrusted():
        float(helper.answer("echoed").values[0])
    assert raised.value.kind == "crashed"
    assert ask(helper, "echo", 1)[0] == 1


def test_a_closed_helper_leaves_no_process():
    with Helper("tests.pipeline.video.test_helper:main", patience_seconds=20.0) as helper:
        process = process_of(helper)
    assert not Path(f"/proc/{process}").exists()
