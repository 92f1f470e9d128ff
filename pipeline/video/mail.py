"""Messages between the main process and its decoder processes: JSON, and for long lists of ticks bytes after it.

Never pickles: a hostile file may have taken a decoder over. For the same reason the main process never waits for one:
its end sends what there is room for, receives what is there, and keeps the rest for later.
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
_MOST_BYTES = 1 << 28  # of a message
_BYTES_A_CALL = 1 << 18
_LONGEST_WAIT_SECONDS = 3600.0  # the system counts milliseconds and has room for some weeks


@dataclass(frozen=True)
class Message:
    """What one side tells the other: a name, values that JSON knows, and ticks as bytes."""

    name: str
    values: list[Any]
    ticks: bytes = b""


class Mailbox:
    """The main process's end of the line to a decoder; no call waits for the other side."""

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)
        self._line = line
        self._arrived = bytearray()  # of the next message; never more, so that whether more has come can be asked
        self._unsent = bytearray()

    def fileno(self) -> int:
        return self._line.fileno()

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def post(self, name: str, *values: Any, ticks: bytes = b"") -> None:
        """Sends a message, or keeps it until there is room."""
        self._unsent += _packed(name, values, ticks)
        self.send()

    def send(self) -> None:
        """Sends what waits, as far as there is room. That the other side is gone is told by ``receive``."""
        while self._unsent:
            try:
                sent = self._line.send(self._unsent[:_BYTES_A_CALL])
            except BlockingIOError:
                return
            except OSError:
                self._unsent.clear()
                return
            del self._unsent[:sent]

    def receive(self) -> Message | None:
        """The next message; None: it has not come, or not all of it.

        Raises:
            EOFError, OSError: the other side is gone.
            ValueError: what it sends is no message.
        """
        while missing := _missing(self._arrived):
            try:
                part = self._line.recv(min(missing, _BYTES_A_CALL))
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
    """Those to which something comes, or whose other side is gone; meanwhile sends what waits to be sent.

    Returns when there is one, when something was sent, or after ``seconds``.
    """
    poll = select.poll()
    by_number = {mailbox.fileno(): mailbox for mailbox in mailboxes}
    for number, mailbox in by_number.items():
        poll.register(number, select.POLLIN | (select.POLLOUT if mailbox.has_unsent else 0))
    heard = set()
    for number, event in poll.poll(math.ceil(1000 * min(seconds, _LONGEST_WAIT_SECONDS))):
        if event & select.POLLOUT:
            by_number[number].send()
        if event & ~select.POLLOUT:
            heard.add(by_number[number])
    return heard


class Line:
    """A decoder's end: it waits for the main process, which is what keeps a decoder from running ahead."""

    def __init__(self, number: int) -> None:
        self._line = socket.socket(fileno=number)

    def send(self, name: str, *values: Any, ticks: bytes = b"") -> None:
        self._line.sendall(_packed(name, values, ticks))

    def receive(self) -> Message:
        """The next message.

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
        """Whether the beginning of a message is there."""
        return bool(select.select([self._line], [], [], 0)[0])


def _packed(name: str, values: Iterable[Any], ticks: bytes) -> bytes:
    text = json.dumps([name, *values]).encode()
    return _SIZES.pack(len(text), len(ticks)) + text + ticks


def _missing(arrived: bytearray) -> int:
    """How many bytes are still to come of what can be told of a message from its beginning."""
    if len(arrived) < _SIZES.size:
        return _SIZES.size - len(arrived)
    length = sum(_SIZES.unpack_from(arrived))
    if length > _MOST_BYTES:
        raise ValueError(f"a message of {length} bytes")
    return _SIZES.size + length - len(arrived)


def _unpacked(content: bytearray) -> Message:
    length, _ = _SIZES.unpack_from(content)
    end = _SIZES.size + length
    told = json.loads(content[_SIZES.size : end])
    if not isinstance(told, list) or not told:
        raise ValueError("a message without a name")
    return Message(told[0], told[1:], bytes(content[end:]))
