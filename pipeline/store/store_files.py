"""The files of a store, by the id of their video: where they are, which videos are done, and which have failed."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np

from pipeline.errors import PipelineError
from pipeline.storage.file_names import file_name_of, identifier_of, is_shortened
from pipeline.storage.location import AnyPath, RemotePath
from pipeline.storage.read_files import read_json
from pipeline.store.folder import json_files
from pipeline.store.records import FailureRecord, Sidecar
from pipeline.store.spec import StoreSpec, check_sidecar


class StoreFiles:
    """The folder of a store and the spec that its sequences share; writes nothing."""

    def __init__(self, path: AnyPath, spec: StoreSpec) -> None:
        self.path = path
        self.spec = spec
        self._header_bytes = len(array_header(spec, 0))  # the same for every number of rows

    @property
    def is_remote(self) -> bool:
        """Whether the store lies in object storage; its files are then listed once, when it is opened."""
        return isinstance(self.path, RemotePath)

    def array_path(self, video_id: str) -> AnyPath:
        return self.path / "features" / f"{file_name_of(video_id)}.npy"

    def sidecar_path(self, video_id: str) -> AnyPath:
        return self.path / "features" / f"{file_name_of(video_id)}.json"

    def failure_path(self, video_id: str) -> AnyPath:
        return self.path / "failures" / f"{file_name_of(video_id)}.json"

    def ids(self) -> list[str]:
        """Return the ids of the videos that have a sidecar, sorted."""
        return sorted(self.id_of(p.name[: -len(".json")]) for p in json_files(self.path / "features"))

    def failed_ids(self) -> list[str]:
        """Return the ids of the videos that are recorded as failed, sorted."""
        return sorted(self.id_of(p.name[: -len(".json")]) for p in json_files(self.path / "failures"))

    def id_of(self, file_name: str) -> str:
        """Return the id of the video whose files have this name (without suffix).

        A shortened name does not tell the id: the sidecar or the failure record does. Where neither can be read, the
        name itself is returned.
        """
        if is_shortened(file_name):
            for folder in ("features", "failures"):
                with contextlib.suppress(PipelineError, AttributeError):
                    value = read_json(self.path / folder / f"{file_name}.json", what="sidecar").get("id")
                    if isinstance(value, str) and file_name_of(value) == file_name:
                        return value
        return identifier_of(file_name)

    def sidecar(self, video_id: str) -> Sidecar | None:
        """Return the sidecar of a video that is done, else None.

        A video is not done if its sidecar is absent, unreadable or of other settings than the store, or if its array
        has another size.
        """
        try:
            value = read_json(self.sidecar_path(video_id), what="sidecar")
            check_sidecar(value, self.spec)
            rows, channels = value["shape"]
            expected = self._header_bytes + rows * channels * np.dtype(self.spec.dtype).itemsize
            done = channels == self.spec.channels and self.array_path(video_id).stat().st_size == expected
            return cast(Sidecar, value) if done and not self._foreign_fields(video_id, value) else None
        except (PipelineError, OSError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
            return None

    def _foreign_fields(self, video_id: str, sidecar: Mapping[str, Any]) -> list[str]:
        return self.spec.foreign_fields(sidecar, where=self.sidecar_path(video_id))

    def foreign_fields(self, video_id: str) -> list[str]:
        """Return the differences of a video's sidecar from the store's spec; none if it cannot be read."""
        try:
            return self._foreign_fields(video_id, read_json(self.sidecar_path(video_id), what="sidecar"))
        except (PipelineError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
            return []

    def failure(self, video_id: str) -> FailureRecord | None:
        """Return the record of a failed video, or None."""
        try:
            value = read_json(self.failure_path(video_id), what="failure")
        except PipelineError:
            return None
        return cast(FailureRecord, value) if isinstance(value, dict) else None

    def refresh(self, video_id: str) -> bool:
        """Look a video up again; return whether another process finished or failed it (False for local stores)."""
        sidecar, failure = self.sidecar_path(video_id), self.failure_path(video_id)
        if not isinstance(sidecar, RemotePath) or not isinstance(failure, RemotePath):
            return False
        array = self.array_path(video_id)
        made = sidecar.refresh() and isinstance(array, RemotePath) and array.refresh()
        return made or failure.refresh()

    def prefetch(self, ids: Iterable[str]) -> None:
        """Prefetch the sidecars of a remote store in this order, in place of the order of the ids."""
        if isinstance(folder := self.path / "features", RemotePath):
            names = []
            for video_id in ids:
                with contextlib.suppress(PipelineError):  # no file can have the name of this id
                    names.append(self.sidecar_path(video_id).name)
            folder.prefetch(names)


def array_header(spec: StoreSpec, rows: int) -> bytes:
    """Return the .npy header of a [rows, C] array.

    NumPy leaves room for the first axis to grow, so the header has the same length for every number of rows: rows can
    be written before their number is known.
    """
    buffer = io.BytesIO()
    header = {
        "descr": np.dtype(spec.dtype).newbyteorder("<").str,
        "fortran_order": False,
        "shape": (rows, spec.channels),
    }
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()
