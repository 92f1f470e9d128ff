"""Values as text on a page, safe for any name of a video or a label."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from pipeline.text.plain import plain, safe_json

# In a script element "</script>" would end it.
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def script_json(value: Any) -> str:
    """Return the value as JSON that is safe in a script, inside a page or in a file of its own."""
    text = safe_json(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
    return "".join(_UNSAFE.get(character, character) for character in text)


def shown(value: Any) -> Any:
    """Return the value as the page shows it: text from outside the page loses its control characters."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def percent(value: float | None) -> str:
    """Return a share from 0 to 1 as "12.3"; "–" for None."""
    return "–" if value is None or value != value else f"{100 * value:.1f}"


def duration(seconds: float) -> str:
    """Return seconds as "1.5 s", "2 min 5 s" or "3 h 2 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def clock(seconds: float) -> str:
    """Return a time in a video as "0:07.5" or "1:02:03.0"."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"
    return f"{hours}:{text}" if hours else text
