"""Read features from csv, pt and mat files: numbers and plain arrays alone; nothing in a file is run."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.exports import hdf5
from pipeline.exports.claims import BadArray, check_features, check_memory, choose_name, refusing

_MAT_NUMBERS = {"single": np.dtype(np.float32), "double": np.dtype(np.float64)}


def read_csv(file: Path) -> np.ndarray:
    """Return the numbers [T, C] float32 of a text file, separated by commas or white space; a first line of words is
    skipped.

    Raises:
        BadArray: it holds something else, or lines of different lengths.
    """
    with refusing("csv"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an empty file, which is refused below
        check_memory(file.stat().st_size, stored=file.stat().st_size)
        with file.open(encoding="utf-8-sig") as lines:
            first = lines.readline(1 << 24)
        comma = "," if "," in first else None
        array = np.loadtxt(
            file, dtype=np.float32, delimiter=comma, ndmin=2, skiprows=_words(first, comma), encoding="utf-8-sig"
        )
        check_features(array.shape, array.dtype)
        return array


def _words(line: str, comma: str | None) -> int:
    """Return 1 if the cells of a line are not all numbers, else 0."""
    try:
        [float(cell) for cell in line.split(comma)]
    except ValueError:
        return 1
    return 0


def read_tensor(file: Path, key: str | None, *, most_axes: int) -> np.ndarray:
    """Return the tensor of a file that torch.save wrote, alone or in a dict.

    Raises:
        BadArray: it holds something else than tensors and plain values, or no such tensor.
    """
    import torch

    with refusing("pt"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickles that torch did not write
        try:
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:  # torch would advise to run what the file says
            raise BadArray("holds Python objects beside tensors, which could run code: save the tensor alone") from None
        if isinstance(content, Mapping):
            tensors = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
            content = tensors[choose_name(list(tensors), key)]
        if not isinstance(content, torch.Tensor) or content.layout != torch.strided:
            raise BadArray(f"must hold a tensor, it holds {type(content).__name__}")
        if content.dtype == torch.bfloat16:
            content = content.float()
        array: np.ndarray = content.detach().numpy()
        check_memory(check_features(array.shape, array.dtype, most_axes=most_axes), stored=file.stat().st_size)
        return array


def read_mat(file: Path, key: str | None, *, most_axes: int) -> np.ndarray:
    """Return an array of a MATLAB file, of version 5 to 7.2 (scipy reads these) or 7.3 (an HDF5 file).

    Raises:
        BadArray: it has no such array of numbers; scipy or h5py is not installed.
    """
    with file.open("rb") as start:
        is_hdf5 = b"MATLAB 7.3" in start.read(128)
    if is_hdf5:
        with hdf5.opened(file) as content:
            name = choose_name([str(name) for name in content if not str(name).startswith("#")], key)
            return hdf5.read(hdf5.find(content, name), most_axes=most_axes).T  # MATLAB's axes are reversed in the file
    try:
        from scipy.io import loadmat, whosmat  # type: ignore[import-untyped]
    except ImportError:
        raise BadArray("needs scipy, which is not installed; run `pip install scipy`") from None
    with refusing("mat"):
        kinds = {name: (shape, kind) for name, shape, kind in whosmat(file)}
        name = choose_name([name for name, (_, kind) in kinds.items() if kind in _MAT_NUMBERS], key)
        shape, kind = kinds[name]
        wanted = check_features(tuple(map(int, shape)), _MAT_NUMBERS[kind], most_axes=most_axes)
        check_memory(wanted, stored=file.stat().st_size)
        array: np.ndarray = loadmat(file, variable_names=[name])[name]
        return array
