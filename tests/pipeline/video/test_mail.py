"""Messages to and from decoders: whole, in order, in pieces of any size; the main process's end never waits."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from pipeline.video.mail import Line, Mailbox, Message, wait

MESSAGES = [("job", [{"path": "ü.mp4"}], b""), ("release", [7], b""), ("finished", [{}, []], bytes(range(256)) * 4000)]


@pytest.fixture
def ends():
    """A mailbox and the bare socket of its other side."""
    ours, theirs = socket.socketpair()
    yield Mailbox(ours), theirs
    ours.close()
    theirs.close()


def packed(text: bytes, ticks: bytes = b"") -> bytes:
    return struct.pack(">II", len(text), len(ticks)) + text + ticks


def test_messages_arrive_whole_and_in_order_both_ways(ends):
    mailbox, theirs = ends
    line = Line(theirs.detach())

    def echo() -> None:
        for _ in MESSAGES:
            message = line.receive()
            line.send(message.name, *message.values, ticks=message.ticks)

    other = threading.Thread(target=echo)
    other.start()
    for name, values, ticks in MESSAGES:
        mailbox.post(name, *values, ticks=ticks)
    heard = []
    while len(heard) < len(MESSAGES):
        if wait([mailbox], 10.0) and (message := mailbox.receive()):
            heard.append(message)
    other.join()
    assert heard == [Message(*message) for message in MESSAGES]
    assert not mailbox.has_unsent
    assert not line.has_news


def test_a_message_that_comes_byte_by_byte_is_complete_with_the_last_byte(ends):
    mailbox, theirs = ends
    content = packed(b'["alive", 3]', b"ticks")
    for byte in content[:-1]:
        theirs.send(bytes([byte]))
        assert wait([mailbox], 10.0) == {mailbox}
        assert mailbox.receive() is None
    theirs.send(content[-1:] + packed(b'["ready"]'))
    assert mailbox.receive() == Message("alive", [3], b"ticks")
    assert wait([mailbox], 0.0) == {mailbox}
    assert mailbox.receive() == Message("ready", [])
    assert wait([mailbox], 0.0) == set()


def test_bytes_that_the_other_side_does_not_take_are_kept(ends):
    mailbox, theirs = ends
    mailbox.post("job", ticks=bytes(10_000_000))  # many times what the system keeps
    mailbox.post("release", 1)
    assert mailbox.has_unsent
    assert wait([mailbox], 0.0) == set()
    line = Line(theirs.detach())
    taken: list[Message] = []
    other = threading.Thread(target=lambda: taken.extend(line.receive() for _ in range(2)))
    other.start()
    while mailbox.has_unsent:
        wait([mailbox], 10.0)
    other.join()
    assert [message.name for message in taken] == ["job", "release"]


@pytest.mark.parametrize(
    "content",
    [b"hello world", *map(packed, (b"hello", b"7", b"[]", b"{}", b"\xff", b"[" * 200_000))],
)
def test_bytes_that_are_no_message_are_an_error(ends, content):
    mailbox, theirs = ends
    theirs.sendall(content)
    with pytest.raises((ValueError, RecursionError)):
        mailbox.receive()


def test_a_side_that_is_gone_is_noticed_on_receiving_not_on_sending(ends):
    mailbox, theirs = ends
    theirs.close()
    mailbox.post("release", 1)
    assert not mailbox.has_unsent
    assert wait([mailbox], 10.0) == {mailbox}
    with pytest.raises((EOFError, OSError)):
        mailbox.receive()
