"""Make text from data (file names, labels, reasons) safe for a terminal, a log or a picture."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

# Control characters of both ranges, surrogates (bytes of a name that are not UTF-8), Unicode's line separators, and
# marks that change the direction of writing: the text shown must be the text in the data.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def plain(text: object) -> str:
    """Return the text on one line, with characters that control a terminal escaped as Python does it: `\\x1b`."""
    return _UNSAFE.sub(lambda match: _SHORT.get(match[0]) or _escape(ord(match[0])), str(text))


def plain_json(value: object, *, indent: int | None = None) -> str:
    """Return the value as JSON that is safe to print; it reads back as the same value."""
    return safe_json(json.dumps(value, ensure_ascii=False, indent=indent))


def safe_json(text: str) -> str:
    """Return JSON with the same characters escaped as JSON does it; line ends stay."""
    return _UNSAFE.sub(lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text)


def counted(number: int, thing: str, is_: str = "", are: str = "") -> str:
    """Return `1 video`, `2 videos`, `1 class has`, `2 classes have`: a number, what is counted, and its verb.

    Args:
        thing: what is counted, in the singular; its plural ends in s or es.
        is_, are: the verb for one and for several.
    """
    words = [f"1 {thing}", is_] if number == 1 else [f"{number} {thing}{'es' if thing.endswith('s') else 's'}", are]
    return " ".join(word for word in words if word)


def first_of(names: Collection[str], shown: int = 3) -> str:
    """Return the first few names, with "…" if there are more."""
    return ", ".join(list(names)[:shown]) + (", …" if len(names) > shown else "")


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
