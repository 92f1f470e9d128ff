"""Damaged forms of valid files, and a watch over what a reader of them does."""

import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests import ROOT

SECONDS = 20  # of one reader on one tiny file, on a busy machine: longer is a hang
_ROOM = 3 << 30  # bytes of address space for a reader of a tiny file


class _Raw(str):
    """Text that stands in JSON as it is, where `json` itself would refuse to write it."""


_RAW = (
    _Raw("9" * 5000),
    _Raw("-" + "9" * 390),
    _Raw("1e999999999"),
    _Raw("1e-999999999"),
    _Raw("[" * 5000),
    _Raw("[" * 3000 + "]" * 3000),
    _Raw("[" * 80 + "]" * 80),
    _Raw('{"a":' * 3000 + "1" + "}" * 3000),
    _Raw("NaN"),
    _Raw("-Infinity"),
    _Raw("Infinity"),
    _Raw('{"a":1,"a":2}'),
    _Raw("nonsense"),
)
_PLAIN = (
    *(None, True, False, 0, -1, 1, 3, 2.5, 2**31, 2**63, 2**64, 10**9, 10**15, 10**30, 1e308, -1e308, 5e-324, 1e-9),
    *("", " ", "a", "x" * 300, "\0", "\ud800", "\x1b[31m", "/etc/passwd", "../../../etc/passwd", "a/b", "~", "."),
    *("1e999999999", "1e-999999999", "1/0", "0/1", "-1", "9" * 5000, "nan", "inf", "1e99", "٣", "1_0", "video"),
    *("int8", "<U99", "O", "float64", "complex64", "training", "Ambiguous"),
    *([], {}, [[]], [None], [1, 2, 3], [0, 1e400], ["a", "a"], [[1, 2], [3]], {"a": 1}, {"": {}}, [1.5, "x"]),
)
NASTY = st.sampled_from((*_PLAIN, *_RAW))


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Each container with each of its keys."""
    found: list[tuple[Any, Any]] = []
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            found += [(value, key), *_places(item)]
    return found


def changed(draw: Any, value: Any) -> Any:
    """The value with one to three of its parts replaced, removed, renamed, doubled or put elsewhere."""
    value = deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        places = _places(value)
        if not places:
            return deepcopy(draw(NASTY))
        container, key = places[draw(st.integers(0, len(places) - 1))]
        what = draw(st.sampled_from(("replace", "replace", "replace", "remove", "rename", "double", "move")))
        if what == "replace":
            container[key] = deepcopy(draw(NASTY))
        elif what == "remove":
            del container[key]
        elif what == "rename" and isinstance(container, dict):
            container[str(draw(NASTY))[:400]] = container.pop(key)
        elif what == "double" and isinstance(container, list):
            container.append(deepcopy(container[key]))
        else:
            other, place = places[draw(st.integers(0, len(places) - 1))]
            container[key] = deepcopy(other[place])
    return value


def as_json(value: Any) -> bytes:
    """JSON of a value, with raw parts as they are."""
    raw: list[str] = []

    def marked(part: Any) -> Any:
        if isinstance(part, _Raw):
            raw.append(part)
            return f"@raw{len(raw) - 1}@"
        if isinstance(part, dict):
            return {key: marked(item) for key, item in part.items()}
        return [marked(item) for item in part] if isinstance(part, list) else part

    text = json.dumps(marked(value))
    for number, part in enumerate(raw):
        text = text.replace(f'"@raw{number}@"', part)
    return text.encode()


def damaged(draw: Any, data: bytes) -> bytes:
    """Bytes with flips, cuts, insertions, repetitions, or numbers made large, such as sizes in a header."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, min(len(data), draw(st.sampled_from((16, 128, 1 << 20)))) - 1)))
        what = draw(st.sampled_from(("flip", "cut", "insert", "repeat", "large", "digits", "other file")))
        if what == "flip":
            data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :] if data else data
        elif what == "cut":
            data = data[:at]
        elif what == "insert":
            data = data[:at] + draw(st.binary(min_size=1, max_size=12)) + data[at:]
        elif what == "repeat":
            data = data[:at] + data[at : at + 40] * 3 + data[at + 40 :]
        elif what == "large":
            data = data[:at] + draw(st.sampled_from((b"\xff" * 8, b"\xff\xff\xff\x7f", b"\0" * 8))) + data[at + 8 :]
        elif what == "digits":  # sizes that stand there as text
            digit = next((place for place in range(at, len(data)) if chr(data[place]).isdecimal()), None)
            data = data if digit is None else data[:digit] + b"999999999999" + data[digit + 1 :]
        else:
            data = draw(st.sampled_from((b"", b"\0" * 64, b"<!DOCTYPE html><html>", b"\x80\x04.", data[::-1])))
    return data


_opened: list[str] | None = None


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _opened is not None and event in ("open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir"):
        _opened.append(os.fsdecode(args[0]) if isinstance(args[0], (str, bytes)) else str(args[0]))


sys.addaudithook(_audit)


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Fails if what is done reaches out of ``folder``, takes longer than SECONDS, or asks for very much memory."""
    global _opened

    def late(*_: object) -> None:
        raise AssertionError(f"no end after {SECONDS} s")

    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, late)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    signal.alarm(SECONDS)
    _limit_memory(limits)
    _opened = []
    try:
        yield
    finally:
        opened, _opened = _opened, None
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, before)
    allowed = (str(folder), sys.prefix, sys.base_prefix, str(ROOT), "/proc/", "/sys/", "/dev/null")
    outside = [name for name in opened if os.path.isabs(name) and not name.startswith(allowed)]  # noqa: PTH117
    assert not outside, f"reached {outside}"


def _limit_memory(limits: tuple[int, int]) -> None:
    status = Path("/proc/self/statm")
    if status.exists():
        used = int(status.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _ROOM, limits[1]))
