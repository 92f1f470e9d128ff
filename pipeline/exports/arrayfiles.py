"""Read published feature files: npy, npz, HDF5, csv, pt, mat and, only on request, pickled arrays."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError
from pipeline.exports import hdf5
from pipeline.exports.claims import BadArray, check_features, check_memory, choose_name, refusing
from pipeline.exports.config import ImportConfig
from pipeline.exports.pickled import array_of_pickle
from pipeline.exports.text_and_tensor_files import read_csv, read_mat, read_tensor
from pipeline.text.plain import plain

_SUFFIXES = {".npy": "npy", ".npz": "npz", ".h5": "h5", ".hdf5": "h5", ".pkl": "pkl", ".pickle": "pkl"}
# Taken only if no others are there: beside features, such files are often lists or models.
_BY_THEMSELVES = {".csv": "csv", ".pt": "pt", ".mat": "mat"}
_MOST_AXES = 4  # [T, C, 1, 1], as some poolings leave it
_LONGEST_HEADER = 9000  # bytes; NumPy refuses 10,000, with advice that does not apply here


@dataclass(frozen=True)
class ArrayFile:
    """An array in a file.

    Args:
        name: of the sequence: the name of the file, or the key in it.
        file: the path of the file.
        where: the file, and the key in it, for messages.
        read: returns the array of floating-point numbers, as `as_rows` takes it; raises BadArray.
    """

    name: str
    file: Path
    where: str
    read: Callable[[], np.ndarray]


def find_arrays(source: Path, config: ImportConfig) -> list[ArrayFile]:
    """Return the feature sequences in the folder or file `source`; damaged files raise only when read.

    Raises:
        PipelineError: there are none, kinds are mixed, or there are pickles and `config.format` is not pkl.
    """
    if not source.is_dir() and not source.is_file():
        raise PipelineError(f"features: no file or folder {source}")
    files = sorted(p for p in source.rglob("*") if not p.is_dir()) if source.is_dir() else [source]
    kinds = {file: _SUFFIXES[file.suffix.lower()] for file in files if file.suffix.lower() in _SUFFIXES}
    if not kinds or config.format in _BY_THEMSELVES.values():
        kinds = {f: _BY_THEMSELVES[f.suffix.lower()] for f in files if f.suffix.lower() in _BY_THEMSELVES}
    wanted = {file: kind for file, kind in kinds.items() if config.format in ("auto", kind)}
    if config.format == "auto" and "pkl" in wanted.values():
        first = next(file for file, kind in wanted.items() if kind == "pkl")
        raise PipelineError(f"{first}: pickles are read only with format pkl (arrays only)")
    if len(found := sorted(set(wanted.values()))) > 1:
        raise PipelineError(f"{source} has files of several kinds ({', '.join(found)}); choose one with format")
    if not wanted:
        raise PipelineError(
            f"{source} has no feature files; expected npy, npz, h5, csv, pt, mat (or pkl with format pkl)"
        )
    return [item for file, kind in wanted.items() for item in _arrays_in(file, kind, source, config)]


def _arrays_in(file: Path, kind: str, source: Path, config: ImportConfig) -> Iterator[ArrayFile]:
    relative = file.relative_to(source) if source.is_dir() else Path(file.name)
    if not file.is_file():
        reason = BadArray("is a link to nothing" if file.is_symlink() else "is no regular file")
        yield ArrayFile(relative.with_suffix("").as_posix(), file, plain(file.name), _failing(reason))
        return
    if kind == "h5":
        yield from _arrays_in_hdf5(file, relative, config)
        return
    read: dict[str, Callable[[], np.ndarray]] = {
        "npy": partial(read_npy, file, most_axes=_MOST_AXES),
        "npz": partial(_read_npz, file, config.key),
        "pkl": partial(_read_pickle, file),
        "csv": partial(read_csv, file),
        "pt": partial(read_tensor, file, config.key, most_axes=_MOST_AXES),
        "mat": partial(read_mat, file, config.key, most_axes=_MOST_AXES),
    }
    yield ArrayFile(relative.with_suffix("").as_posix(), file, plain(file.name), read[kind])


def _arrays_in_hdf5(file: Path, relative: Path, config: ImportConfig) -> Iterator[ArrayFile]:
    """Yield one for each top-level name; if there are none, one that raises BadArray when read."""
    try:
        names = hdf5.names_in(file)
        if not names:
            raise BadArray("holds nothing")
    except BadArray as error:
        yield ArrayFile(relative.as_posix(), file, plain(file.name), _failing(error))
        return
    for name in names:
        yield ArrayFile(name, file, plain(f"{file.name}, key {name}:"), partial(_read_hdf5, file, name, config.key))


def _failing(error: BadArray) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        raise error

    return read


def read_npy(file: Path, *, least_rows: int = 1, most_axes: int = 2) -> np.ndarray:
    """Return the array [T, C] of an npy file, mapped into memory; with `most_axes` > 2 it may have more axes.

    Raises:
        BadArray: it is damaged, shorter than its header says, or holds no features.
    """
    with refusing("npy"):
        with file.open("rb") as content:
            shape, dtype, begin = _npy_header(content.read(_LONGEST_HEADER))
        wanted = check_features(shape, dtype, least_rows=least_rows, most_axes=most_axes)
        missing = begin + wanted - file.stat().st_size
        if missing > 0:
            raise BadArray(f"claims an array of {list(shape)}, and is too short for it")
        array: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
        return array


def _npy_header(start: bytes) -> tuple[tuple[int, ...], np.dtype, int]:
    """Return the shape, dtype and header length (bytes) from the start of an npy file."""
    stream = io.BytesIO(start)
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    else:  # later versions allow longer headers and other field names
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    return shape, dtype, stream.tell()


def _read_npz(file: Path, key: str | None) -> np.ndarray:
    with refusing("npz"), zipfile.ZipFile(file) as content:
        members = content.infolist()
        name = choose_name([member.filename.removesuffix(".npy") for member in members], key)
        (member, *others) = [m for m in members if m.filename.removesuffix(".npy") == name]
        if others:
            raise BadArray(f"has {1 + len(others)} arrays {name!r}")
        with content.open(member) as start:
            shape, dtype, begin = _npy_header(start.read(_LONGEST_HEADER))
        wanted = check_features(shape, dtype, most_axes=_MOST_AXES)
        check_memory(wanted, stored=min(member.compress_size, file.stat().st_size))
        if begin + wanted > member.file_size:
            raise BadArray(f"claims an array of {list(shape)}, and is too short for it")
        with content.open(member) as values:
            array: np.ndarray = np.lib.format.read_array(values, allow_pickle=False)
            return array


def _read_hdf5(file: Path, name: str, key: str | None) -> np.ndarray:
    with hdf5.opened(file) as content:
        item = hdf5.find(content, name)
        if isinstance(item, hdf5.open_hdf5().Group):
            item = hdf5.find(item, choose_name(list(item), key))
        return hdf5.read(item, most_axes=_MOST_AXES)


def _read_pickle(file: Path) -> np.ndarray:
    with refusing("pickle"):
        check_memory(file.stat().st_size, stored=file.stat().st_size)
        return array_of_pickle(file.read_bytes(), most_axes=_MOST_AXES)
