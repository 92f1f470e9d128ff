"""HDF5, which is optional."""

from __future__ import annotations

import importlib
from typing import Any

from pipeline.errors import PipelineError


def open_hdf5() -> Any:
    """The module h5py.

    Raises:
        PipelineError: it is not installed.
    """
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise PipelineError("HDF5 files need h5py, which is not installed; run `pip install h5py`") from None
