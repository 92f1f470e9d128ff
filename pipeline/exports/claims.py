"""Check the sizes that a file claims before allocating memory."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pipeline.text.plain import plain

_MOST_BYTES = 1 << 32  # for one array read into memory; npy files are memory-mapped
_SURELY_FITS = 1 << 26
_MOST_RATIO = 300  # of an array to its compressed size; equal rows compress 200 times, zeros 1000 times
_LONGEST_REASON = 400


class BadArray(Exception):
    """A file that holds no feature sequence; the message says what is wrong and what to do, on one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(plain(" ".join(reason.split())[:_LONGEST_REASON]))


@contextmanager
def refusing(kind: str) -> Iterator[None]:
    """Turn any error of a file's reader into a BadArray."""
    try:
        yield
    except BadArray:
        raise
    except Exception as error:  # on damaged files, readers raise almost any exception
        words = re.sub(r"<\S+ object at 0x\w+>", "an expression", str(error)) or type(error).__name__
        raise BadArray(f"cannot be read as {kind}: {words}") from None


def check_features(shape: Any, dtype: Any, *, least_rows: int = 1, most_axes: int = 2) -> int:
    """Return the size of an array [T, C] in bytes; with `most_axes` > 2 it may have more axes.

    Raises:
        BadArray: it is not a floating-point array of two axes with at least `least_rows` rows and one column.
    """
    numbers = isinstance(shape, tuple) and all(isinstance(length, int) for length in shape)
    if not numbers or not 2 <= len(shape) <= most_axes or shape[0] < least_rows or min(shape[1:]) < 1:
        found = list(shape) if numbers else "without a shape"
        raise BadArray(f"must be an array of two axes, T and C, with at least one row; it is {found}")
    if not isinstance(dtype, np.dtype) or dtype.kind != "f":
        raise BadArray(f"must be of floating-point numbers, it is of {dtype}")
    return math.prod(shape) * dtype.itemsize


def choose_name(names: list[str], key: str | None) -> str:
    """Return the name of the array to read: `key`, else the only one, else feats.

    Raises:
        BadArray: there is no array of that name.
    """
    if key is None and len(set(names)) == 1:
        return names[0]
    wanted = key or "feats"
    if wanted not in names:
        raise BadArray(f"has no array {wanted!r}; it has {', '.join(map(str, names)) or 'none'}: choose one with key")
    return wanted


def check_memory(wanted: int, *, stored: int) -> None:
    """Refuse an array that is too large for memory, or larger than its file can hold.

    Args:
        wanted: bytes of the array.
        stored: bytes of the array in the file, perhaps compressed.

    Raises:
        BadArray: it is.
    """
    if wanted > _MOST_BYTES:
        raise BadArray(
            f"claims an array of {_gigabytes(wanted)}; at most {_gigabytes(_MOST_BYTES)} are read into memory: "
            "save it as npy, if it is that large"
        )
    if wanted > max(_SURELY_FITS, _MOST_RATIO * stored):
        raise BadArray(
            f"claims an array of {_gigabytes(wanted)} and holds {_gigabytes(stored)}: no features compress so well"
        )


def _gigabytes(count: int) -> str:
    return f"{min(count, 10**30) / 1e9:.3g} GB"
