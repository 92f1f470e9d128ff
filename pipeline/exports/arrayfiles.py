"""Reading the files in which features are published: npy, npz, HDF5 and, asked for by name, pickled arrays."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.exports.config import ImportConfig
from pipeline.exports.hdf5 import open_hdf5

_SUFFIXES = {".npy": "npy", ".npz": "npz", ".h5": "h5", ".hdf5": "h5", ".pkl": "pkl", ".pickle": "pkl"}
_PICKLED = {  # what a pickled array consists of, in NumPy 1 and 2
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
}


class BadArray(Exception):
    """A file that holds no feature sequence; the message says what is wrong and what to do."""


def find_arrays(source: Path, config: ImportConfig) -> list[tuple[str, Path, Callable[[], Any]]]:
    """The feature sequences in the folder or file ``source``: name, file, and a function that reads the array.

    Raises:
        PipelineError: there are none, kinds are mixed, or there are pickles that nobody asked for.
    """
    if not source.exists():
        raise PipelineError(f"features: no file or folder {source}")
    files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
    kinds = {file: _SUFFIXES[file.suffix.lower()] for file in files if file.suffix.lower() in _SUFFIXES}
    wanted = {file: kind for file, kind in kinds.items() if config.format in ("auto", kind)}
    if config.format == "auto" and "pkl" in wanted.values():
        first = next(file for file, kind in wanted.items() if kind == "pkl")
        raise PipelineError(f"{first}: pickles are read only when asked for with format pkl (arrays alone)")
    if len(found := sorted(set(wanted.values()))) > 1:
        raise PipelineError(f"{source} has files of several kinds ({', '.join(found)}); choose one with format")
    if not wanted:
        raise PipelineError(f"{source} has no feature files; expected npy, npz, h5 (or pkl with format pkl)")
    return [item for file, kind in wanted.items() for item in _arrays_in(file, kind, source, config)]


def _arrays_in(file: Path, kind: str, source: Path, config: ImportConfig) -> Iterator[tuple[str, Path, Any]]:
    if kind == "h5":
        with open_hdf5().File(file, "r") as content:
            names = list(content)
        for name in names:
            yield name, file, lambda name=name: _read_h5(file, name, config.key)
        return
    relative = file.relative_to(source) if source.is_dir() else Path(file.name)
    read: dict[str, Callable[[], Any]] = {
        "npy": lambda: _read_npy(file),
        "npz": lambda: _read_npz(file, config.key),
        "pkl": lambda: _read_pickle(file),
    }
    yield relative.with_suffix("").as_posix(), file, read[kind]


def _read_npy(file: Path) -> Any:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadArray(f"cannot be read as npy: {error}") from None


def _read_npz(file: Path, key: str | None) -> Any:
    try:
        with np.load(file, allow_pickle=False) as content:
            return content[_key(list(content.files), key)]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadArray(f"cannot be read as npz: {error}") from None


def _read_h5(file: Path, name: str, key: str | None) -> Any:
    h5py = open_hdf5()
    with h5py.File(file, "r") as content:
        item = content[name]
        if isinstance(item, h5py.Group):
            item = item[_key(list(item), key)]
        return item[()]


def _key(names: list[str], key: str | None) -> str:
    if key is None and len(names) == 1:
        return names[0]
    wanted = key or "feats"
    if wanted not in names:
        raise BadArray(f"has no array {wanted!r}; it has {', '.join(names)}: choose one with key")
    return wanted


class _ArrayUnpickler(pickle.Unpickler):
    """Loads NumPy arrays and refuses everything else, so that a pickle cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PICKLED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}; only NumPy arrays are accepted")
        return super().find_class(module, name)


def _read_pickle(file: Path) -> Any:
    try:
        with file.open("rb") as content:
            return _ArrayUnpickler(content).load()
    except (pickle.UnpicklingError, OSError, EOFError, ValueError, TypeError, AttributeError, ImportError) as error:
        raise BadArray(f"cannot be read as pickle: {error}") from None


def as_rows(array: Any, config: ImportConfig) -> np.ndarray:
    """[T, C] features from what a file holds.

    Raises:
        BadArray: it is not a floating-point array of two axes with at least one row.
    """
    if not isinstance(array, np.ndarray) or array.ndim != 2 or 0 in array.shape:
        shape = list(array.shape) if isinstance(array, np.ndarray) else type(array).__name__
        raise BadArray(f"must be an array of two axes, T and C, with at least one row; it is {shape}")
    if array.dtype.kind != "f":
        raise BadArray(f"must be of floating-point numbers, it is of {array.dtype}")
    return array.T if config.channels_first else array
