"""Messages between the main process and its decoder processes: JSON, followed by bytes for long lists of ticks.

No pickles, because a hostile file may control a decoder. For the same reason the main process never waits for one: its
end sends as much as fits, receives what has arrived, and keeps the rest for later.
"""

from __future__ import annotations

import json
import math
import select
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_SIZES = struct.Struct("!II")  # bytes of JSON, bytes of ticks
_MAX_BYTES = 1 << 28  # of a message
_BYTES_PER_CALL = 1 << 18
_MAX_WAIT_SECONDS = 3600.0  # the system counts milliseconds in an int, which overflows after some weeks


@dataclass(frozen=True)
class Message:
    """A message: a name, JSON values, and ticks as bytes."""

    name: str
    values: list[Any]
    ticks: bytes = b""


class Mailbox:
    """The main process's end of the line to a decoder. No call waits for the other side."""

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)
        self._line = line
        self._arrived = bytearray()  # of the next message and never more, so that poll sees the rest
        self._unsent = bytearray()

    def fileno(self) -> int:
        return self._line.fileno()

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def post(self, name: str, *values: Any, ticks: bytes = b"") -> None:
        """Send a message, or keep it until there is room."""
        self._unsent += _packed(name, values, ticks)
        self.send()

    def send(self) -> None:
        """Send waiting bytes, as many as fit. If the other side is gone, `receive` raises the error."""
        while self._unsent:
            try:
                sent = self._line.send(self._unsent[:_BYTES_PER_CALL])
            except BlockingIOError:
                return
            except OSError:
                self._unsent.clear()
                return
            del self._unsent[:sent]

    def receive(self) -> Message | None:
        """Return the next message; None if it has not arrived completely.

        Raises:
            EOFError, OSError: the other side is gone.
            ValueError: the other side sends no valid message.
        """
        while missing := _missing(self._arrived):
            try:
                part = self._line.recv(min(missing, _BYTES_PER_CALL))
            except BlockingIOError:
                return None
            if not part:
                raise EOFError
            self._arrived += part
        content, self._arrived = self._arrived, bytearray()
        return _unpacked(content)

    def close(self) -> None:
        self._line.close()


def wait(mailboxes: Iterable[Mailbox], seconds: float) -> set[Mailbox]:
    """Wait for the mailboxes; return those with incoming bytes or a closed line.

    Sends waiting bytes meanwhile. Returns at the first event, which may be a completed send, or after `seconds`.
    """
    poll = select.poll()
    by_number = {mailbox.fileno(): mailbox for mailbox in mailboxes}
    for number, mailbox in by_number.items():
        poll.register(number, select.POLLIN | (select.POLLOUT if mailbox.has_unsent else 0))
    heard = set()
    for number, event in poll.poll(math.ceil(1000 * min(seconds, _MAX_WAIT_SECONDS))):
        if event & select.POLLOUT:
            by_number[number].send()
        if event & ~select.POLLOUT:
            heard.add(by_number[number])
    return heard


class Line:
    """A decoder's end of the line. It waits for the main process, so a decoder cannot run ahead."""

    def __init__(self, number: int) -> None:
        self._line = socket.socket(fileno=number)

    def send(self, name: str, *values: Any, ticks: bytes = b"") -> None:
        self._line.sendall(_packed(name, values, ticks))

    def receive(self) -> Message:
        """Wait for the next message and return it.

        Raises:
            EOFError, OSError: the main process is gone.
        """
        arrived = bytearray()
        while missing := _missing(arrived):
            part = self._line.recv(missing)
            if not part:
                raise EOFError
            arrived += part
        return _unpacked(arrived)

    @property
    def has_news(self) -> bool:
        """Whether the beginning of a message has arrived."""
        return bool(select.select([self._line], [], [], 0)[0])


def _packed(name: str, values: Iterable[Any], ticks: bytes) -> bytes:
    text = json.dumps([name, *values]).encode()
    return _SIZES.pack(len(text), len(ticks)) + text + ticks


def _missing(arrived: bytearray) -> int:
    """Return how many bytes are missing from the header, or from the message whose header has arrived."""
    if len(arrived) < _SIZES.size:
        return _SIZES.size - len(arrived)
    length = sum(_SIZES.unpack_from(arrived))
    if length > _MAX_BYTES:
        raise ValueError(f"a message of {length} bytes")
    return _SIZES.size + length - len(arrived)


def _unpacked(content: bytearray) -> Message:
    length, _ = _SIZES.unpack_from(content)
    end = _SIZES.size + length
    values = json.loads(content[_SIZES.size : end])
    if not isinstance(values, list) or not values:
        raise ValueError("a message without a name")
    return Message(values[0], values[1:], bytes(content[end:]))
