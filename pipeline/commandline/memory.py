"""Telling a lack of memory, which every library puts into words of its own."""

from __future__ import annotations

_WORDS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "failed to map segment",  # a library that could not be loaded
    "can't start new thread",
)


def is_lack_of_memory(error: Exception) -> bool:
    """Whether an error says that memory was asked for and not given."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _WORDS)
