"""Read HDF5 files; h5py is optional. Refuses links and data sets that refer to other files."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.exports.claims import BadArray, check_features, check_memory, refusing

_MOST_LINKS = 16  # followed from one name


def open_hdf5() -> Any:
    """Return the module h5py.

    Raises:
        PipelineError: it is not installed.
    """
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise PipelineError("HDF5 files need h5py, which is not installed; run `pip install h5py`") from None


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open the HDF5 file `path` for reading; any error in the block becomes a BadArray.

    Raises:
        BadArray: the file is damaged, or is not an HDF5 file.
    """
    h5py = open_hdf5()
    with refusing("HDF5"), h5py.File(path, "r") as file:
        yield file


def names_in(path: Path) -> list[str]:
    """Return the top-level names in the HDF5 file `path`.

    Raises:
        BadArray: the file is damaged, or is not an HDF5 file.
    """
    with opened(path) as file:
        return [name if isinstance(name, str) else name.decode(errors="backslashreplace") for name in file]


def find(file: Any, path: str) -> Any:
    """Return the group or data set at `path` of an open HDF5 file, following links inside the file only.

    Raises:
        BadArray: nothing is there, or a link leads to another file or in a circle.
    """
    h5py = open_hdf5()
    place, parts, followed = file, _parts(path), 0
    while parts:
        part = parts.pop(0)
        link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
        if isinstance(link, h5py.SoftLink):
            followed += 1
            if followed > _MOST_LINKS:
                raise BadArray(f"{path} is a link that leads in a circle")
            place = file if link.path.startswith("/") else place
            parts = _parts(link.path) + parts
        elif isinstance(link, h5py.HardLink):
            place = place[part]
        elif isinstance(link, h5py.ExternalLink):
            raise BadArray(f"{path} is a link to another file ({link.filename}), which is not followed")
        else:
            raise BadArray(f"{path} leads nowhere: there is no {part}")
    return place


def read(item: Any, *, least_rows: int = 1, most_axes: int = 2) -> np.ndarray:
    """Return the array [T, C] of a data set; with `most_axes` > 2 it may have more axes.

    Raises:
        BadArray: it is not an array of features, its values are in other files or missing, or it is too large.
    """
    if not isinstance(item, open_hdf5().Dataset):
        kind = type(item).__name__.lower()
        raise BadArray(f"{item.name} is not an array but a {kind}; arrays must be at VIDEO or VIDEO/KEY")
    if item.external:
        raise BadArray(f"{item.name} has its values in other files (external storage), which are not read")
    if item.is_virtual:
        raise BadArray(f"{item.name} has its values elsewhere (a virtual data set), which is not read")
    wanted = check_features(item.shape, item.dtype, least_rows=least_rows, most_axes=most_axes)
    stored = item.id.get_storage_size()
    check_memory(max(wanted, math.prod(item.chunks or (0,)) * item.dtype.itemsize), stored=stored)
    if stored < wanted if item.chunks is None else item.id.get_num_chunks() < _chunks(item.shape, item.chunks):
        raise BadArray(f"{item.name} is incomplete: not all of its values were written")
    array: np.ndarray = item[()]
    return array


def _chunks(shape: tuple[int, ...], chunk: tuple[int, ...]) -> int:
    """Return the number of chunks that cover an array."""
    return math.prod(-(-length // size) for length, size in zip(shape, chunk, strict=True))


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
