"""Convert a video id to a file name, and back."""

from __future__ import annotations

import hashlib
import os
import re
from functools import lru_cache
from urllib.parse import quote, unquote

from pipeline.errors import PipelineError

_LONGEST_NAME_BYTES = 200  # file systems allow 255; suffixes need the rest
_SAFE = "-_. ()[]+,=@"
# ASCII, and what controls terminals and text (C1, joiners, directions); surrogates are bytes that are not UTF-8.
_CODED = re.compile("[\x00-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]+")
_MARK = re.compile(r"\{[0-9a-f]{16}\}\Z")


@lru_cache(maxsize=1024)  # called several times for each of very many videos
def file_name_of(identifier: str) -> str:
    """Return a file name (without suffix) for a video id: one path component, safe on every system.

    Letters, digits and `-_.` stay as they are, so ordinary ids look the same on disk; all else is percent-encoded, and
    so is a leading dot. If that is too long, letters beyond ASCII stay as they are too. If it is still too long, a hash
    replaces the end, `…{16 hex digits}`; only such a name cannot be turned back into the id.

    Raises:
        PipelineError: the id is empty or is no text.
    """
    if not identifier:
        raise PipelineError("video id must not be empty; rename the video")
    try:
        raw = identifier.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise PipelineError(f"video id must be text, got {identifier[:60]!r}; rename the video") from None
    name = _without_leading_dot(quote(raw, safe=_SAFE))
    if len(name) <= _LONGEST_NAME_BYTES:
        return name
    if is_shortened(identifier):
        return identifier
    text = raw.decode("utf-8", "surrogateescape")  # as in a UTF-8 locale
    name = _with_letters(text)
    if len(name.encode()) > _LONGEST_NAME_BYTES:
        mark = "{" + hashlib.sha256(raw).hexdigest()[:16] + "}"
        name = _cut(text, _LONGEST_NAME_BYTES - len(mark)) + mark
    return as_file_name(name)


def identifier_of(file_name: str) -> str:
    """Return the video id that `file_name_of` turned into `file_name` (given without suffix).

    Return a shortened name unchanged; the file itself states the whole id.
    """
    name = as_text(file_name)
    return name if is_shortened(name) else unquote(name, errors="surrogateescape")


def is_shortened(file_name: str) -> bool:
    """Whether `file_name_of` has cut this file name (without suffix), so that it does not tell the id."""
    file_name = as_text(file_name)
    start = file_name[: -len("{0123456789abcdef}")]
    size = len(file_name.encode(errors="surrogatepass"))
    long = _LONGEST_NAME_BYTES - len("%F0%9F%98%80") < size <= _LONGEST_NAME_BYTES
    return long and bool(_MARK.search(file_name)) and _with_letters(unquote(start, errors="surrogateescape")) == start


def as_text(name: str) -> str:
    """Return a file name decoded as UTF-8, whatever the locale."""
    try:
        return os.fsencode(name).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # already text
        return name


def as_file_name(text: str) -> str:
    """Undo `as_text`: return the name that gives the same bytes on the disk, whatever the locale."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def _with_letters(identifier: str) -> str:
    """Return the id, percent-encoding only characters that are no plain text."""
    return _without_leading_dot(_coded(identifier))


def _coded(text: str) -> str:
    return _CODED.sub(lambda found: quote(found[0], safe=_SAFE, errors="surrogateescape"), text)


def _without_leading_dot(name: str) -> str:
    return "%2E" + name[1:] if name.startswith(".") else name


def _cut(identifier: str, most_bytes: int) -> str:
    """Return the name of the longest beginning of the id that fits into `most_bytes`."""
    name = ""
    for character in identifier:
        longer = name + _coded(character) if name else _with_letters(character)
        if len(longer.encode()) > most_bytes:
            break
        name = longer
    return name
