"""Read .npy files, whose headers may be wrong."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from encoders.stand_ins import stand_in_of
from pipeline.errors import PipelineError
from pipeline.storage.read_files import refuse_special


def read_npy(path: Path, *, what: str) -> np.ndarray:
    """Return the array in `path`, memory-mapped; never unpickle.

    Args:
        what: what the file is, for messages.

    Raises:
        PipelineError: the file is absent, no regular file, no array of plain values, or shorter than its header claims.
    """
    refuse_special(path, what=what)
    try:
        _refuse_false_header(path)
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    except FileNotFoundError:
        raise PipelineError(f"{what}: no file {path}") from None
    except Exception as error:  # the header is a Python literal, which can fail in many ways
        found = stand_in_of(path)
        raise PipelineError(f"{what}: {path} is {found or f'not a readable .npy file: {_line(error)}'}") from None


def _refuse_false_header(path: Path) -> None:
    """Raise ValueError if the file does not hold what its header claims, before any memory is allocated."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"it is of version {version[0]}.{version[1]} of the format; 1.0 and 2.0 are read")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        claimed, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - file.tell()
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which could run code; save numbers alone")
    if min(shape, default=0) < 0 or claimed > there:
        raise ValueError(f"its header says {dtype} {list(shape)}, {claimed} bytes, and {there} follow")


def _line(error: Exception) -> str:
    line = (str(error) or type(error).__name__).splitlines()[0][:200]
    return "its header is not a plain literal" if " object at 0x" in line else line
