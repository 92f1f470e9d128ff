"""Writing the rows of one video into a store."""

from __future__ import annotations

import contextlib
import hashlib
from typing import BinaryIO

import numpy as np

from pipeline.errors import PipelineError
from pipeline.storage.atomic_files import partial_path, publish, write_json
from pipeline.store.records import VideoDetails
from pipeline.store.spec import SCHEMA
from pipeline.store.store_files import StoreFiles, array_header


class SequenceWriter:
    """Writes one sequence row by row; the store shows nothing of it before `commit`.

    As a context manager it discards what was not committed.
    """

    def __init__(self, store: StoreFiles, video_id: str) -> None:
        self._store = store
        self._id = video_id
        self._rows = 0
        self._digest = hashlib.sha256()
        self._partial = partial_path(store.array_path(video_id))  # local, wherever the store is
        self._file: BinaryIO | None = None  # opened with the first rows, when the caller has the writer to discard

    def __enter__(self) -> SequenceWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def discard(self) -> None:
        """Remove what was written; do nothing after a commit."""
        try:
            if self._file is not None:
                with contextlib.suppress(OSError):  # on a full disk closing fails again, on what is thrown away
                    self._file.close()
        finally:
            self._partial.unlink(missing_ok=True)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._file = self._partial.open("wb")
            self._file.write(array_header(self._store.spec, 0))
        return self._file

    @property
    def rows(self) -> int:
        return self._rows

    def append(self, features: np.ndarray) -> None:
        """Add rows [n, C], converted to the store's dtype.

        Raises:
            PipelineError: the rows have another width, or values that are not finite in the store's dtype.
        """
        spec = self._store.spec
        if features.ndim != 2 or features.shape[1] != spec.channels:
            raise PipelineError(f"{self._id}: features must be [n, {spec.channels}], got {list(features.shape)}")
        with np.errstate(over="ignore"):  # reported below, with the remedy
            rows = np.ascontiguousarray(features, dtype=np.dtype(spec.dtype).newbyteorder("<"))
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            raise PipelineError(
                f"{self._id}: features of row {self._rows + int(np.argmin(finite))} are not finite in {spec.dtype}; "
                "use --dtype float32, and --precision fp32 if that does not help"
            )
        data = rows.tobytes()
        self._digest.update(data)
        self._opened().write(data)
        self._rows += len(rows)

    def commit(self, details: VideoDetails) -> None:
        """Publish the array, then the sidecar.

        Args:
            details: of this video. They need `rows` only where rows follow each video's own rate;
                otherwise the spec gives it.
        """
        store, spec = self._store, self._store.spec
        file = self._opened()
        file.seek(0)
        file.write(array_header(spec, self._rows))
        file.close()
        store.refresh(self._id)  # another machine may have written to a remote store since it was listed
        # An older sidecar must not describe another array; it may stay if the array is equal, made by another process.
        if (store.sidecar(self._id) or {}).get("sha256") != self._digest.hexdigest():
            store.sidecar_path(self._id).unlink(missing_ok=True)
        publish(self._partial, store.array_path(self._id))
        sidecar = {
            "schema": SCHEMA,
            "id": self._id,
            "shape": [self._rows, spec.channels],
            "sha256": self._digest.hexdigest(),
            **spec.as_json(),
            **details,
        }
        # Before the sidecar, so that a video is never both done and failed.
        store.failure_path(self._id).unlink(missing_ok=True)
        write_json(store.sidecar_path(self._id), sidecar)
