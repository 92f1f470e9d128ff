"""The feature store: a folder of feature sequences that explain themselves.

    STORE/store.json            the spec that all rows share
    STORE/features/<id>.npy     float32 or float16 [T, C], plain ``np.load``
    STORE/features/<id>.json    the sidecar: what row i means, provenance, shape, SHA-256 of the array
    STORE/failures/<id>.json    a video that could not be done: class of failure and reason
    STORE/parts/<id>/           finished ranges of a long video, while others of it are still to come
    STORE/logs/                 one log of JSON lines for each process that worked on the store

The array is published first, its sidecar last, each in one step. So a sidecar whose array has the stated size means
*done*; anything else means *not done*, and is made again. No locks: processes that share a store write equal files.

A store may lie in object storage; what is assumed of that stands in :mod:`pipeline.storage`. Rows that are being made
lie in a local file until they are whole; arrays are read from local copies.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan
from pipeline.storage.atomic_files import partial_path, publish, write_json, write_new_json
from pipeline.storage.file_names import file_name_of, identifier_of, is_shortened
from pipeline.storage.local import cached, remove_leftovers
from pipeline.storage.location import AnyPath, RemotePath
from pipeline.storage.npy import read_npy
from pipeline.storage.read_files import read_json
from pipeline.storage.temporary_names import remove_abandoned
from pipeline.store.spec import StoreSpec, check_sidecar, plan_from_json

SCHEMA = 1
_READ_AHEAD = 4  # arrays fetched from object storage while another is used


@dataclass(frozen=True, kw_only=True)
class FeatureSequence:
    """The feature sequence of one video.

    Args:
        id: the video's id.
        features: [T, C] float32 or float16; memory-mapped when it comes from a store.
        sidecar: what the sidecar says (``rows``, ``duration_seconds``, ``source``, ``decoder``, …).
    """

    id: str
    features: np.ndarray
    sidecar: dict[str, Any]

    @property
    def duration_seconds(self) -> float:
        return float(self.sidecar["duration_seconds"])

    @property
    def plan(self) -> SnippetPlan:
        """What row i means in this video."""
        return plan_from_json(self.sidecar["rows"])


def video_details(sidecar: dict[str, Any]) -> dict[str, Any]:
    """What a sidecar says about its video, as opposed to its array: what features made from it inherit."""
    times = ("duration_seconds", "duration_exact", "video_fps", "start_offset_seconds")
    names = ("rows", *times, "decoder", "source", "libraries")
    return {name: sidecar[name] for name in names if name in sidecar}


class FeatureStore:
    """A feature store, local or in object storage. Use :meth:`create` or :meth:`open`."""

    def __init__(self, path: AnyPath, spec: StoreSpec) -> None:
        self.path = path
        self.spec = spec
        self._header_bytes = len(_array_header(spec, 0))  # the same for every number of rows

    @property
    def is_remote(self) -> bool:
        """Whether it lies in object storage; its files are then listed once, when it is opened."""
        return isinstance(self.path, RemotePath)

    @classmethod
    def open(cls, path: AnyPath) -> FeatureStore:
        """The store in folder ``path``.

        Raises:
            PipelineError: there is none, or its schema is newer than this program.
        """
        _list(path)
        return cls._open(path)

    @classmethod
    def _open(cls, path: AnyPath) -> FeatureStore:
        if not (path / "store.json").is_file():
            raise PipelineError(
                f"{path} is not a feature store: it has no store.json (make one with `extract`, or of feature files "
                "with `import`)"
            )
        if _is_packed(path):
            raise PipelineError(f"{path} is a packed store; unpack it first: `store unpack {path} --out FOLDER`")
        value = read_json(path / "store.json", what="feature store")
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            found = value.get("schema") if isinstance(value, dict) else None
            raise PipelineError(f"{path / 'store.json'}: schema must be {SCHEMA}, got {found!r}")
        return cls(path, StoreSpec.from_json(value, where=path / "store.json"))

    @classmethod
    def create(cls, path: AnyPath, spec: StoreSpec, *, beside: Collection[str] = ()) -> FeatureStore:
        """The store in ``path``, made when absent, and rid of what killed processes have left half-written.

        Args:
            beside: names of other files that may stand in the folder already.

        Raises:
            PipelineError: the folder holds a store of another spec (the differing fields are named) or other files.
        """
        _list(path)
        if (path / "store.json").exists():
            store = cls._open(path)
            store.refuse_other(spec)
            _remove_leftovers(path)
            return store
        if path.exists() and (not path.is_dir() or _foreign(path, beside)):
            raise PipelineError(f"{path} exists and is not a feature store; choose another --out")
        (path / "features").mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        # Another process may make the store at this moment, with other settings: the first one's spec holds for all.
        write_new_json(path / "store.json", {"schema": SCHEMA, **spec.as_json()})
        store = cls._open(path)
        store.refuse_other(spec)
        return store

    def refuse_other(self, spec: StoreSpec) -> None:
        """Raises PipelineError, with the differing fields, if ``spec`` is not the store's."""
        if differing := self.spec.differences(spec):
            raise PipelineError(
                f"{self.path} holds features of other settings; choose another --out, or the same settings. "
                f"Here is the store, there what was asked for: " + "; ".join(differing)
            )

    def array_path(self, video_id: str) -> AnyPath:
        return self.path / "features" / f"{file_name_of(video_id)}.npy"

    def sidecar_path(self, video_id: str) -> AnyPath:
        return self.path / "features" / f"{file_name_of(video_id)}.json"

    def failure_path(self, video_id: str) -> AnyPath:
        return self.path / "failures" / f"{file_name_of(video_id)}.json"

    def ids(self) -> list[str]:
        """Ids of the videos that have a sidecar, sorted."""
        return sorted(self.id_of(p.name[: -len(".json")]) for p in _json_files(self.path / "features"))

    def failed_ids(self) -> list[str]:
        """Ids of the videos that are recorded as failed, sorted."""
        return sorted(self.id_of(p.name[: -len(".json")]) for p in _json_files(self.path / "failures"))

    def id_of(self, file_name: str) -> str:
        """The id of the video whose files have this name (without suffix). A shortened name does not tell it: the
        sidecar or the failure does, and where neither can be read the name stands for it."""
        if is_shortened(file_name):
            for folder in ("features", "failures"):
                with contextlib.suppress(PipelineError, AttributeError):
                    value = read_json(self.path / folder / f"{file_name}.json", what="sidecar").get("id")
                    if isinstance(value, str) and file_name_of(value) == file_name:
                        return value
        return identifier_of(file_name)

    def sidecar(self, video_id: str) -> dict[str, Any] | None:
        """The sidecar of a video that is done, or None: absent, unreadable, of other settings than the store, or its
        array has another size."""
        try:
            value = read_json(self.sidecar_path(video_id), what="sidecar")
            check_sidecar(value, self.spec)
            rows, channels = value["shape"]
            expected = self._header_bytes + rows * channels * np.dtype(self.spec.dtype).itemsize
            done = channels == self.spec.channels and self.array_path(video_id).stat().st_size == expected
            return value if done and not self._foreign_fields(video_id, value) else None
        except (PipelineError, OSError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
            return None

    def _foreign_fields(self, video_id: str, sidecar: Any) -> list[str]:
        return self.spec.foreign_fields(sidecar, where=self.sidecar_path(video_id))

    def foreign_fields(self, video_id: str) -> list[str]:
        """In what a video's sidecar differs from the store's spec; nothing where it does not or cannot be read."""
        try:
            return self._foreign_fields(video_id, read_json(self.sidecar_path(video_id), what="sidecar"))
        except (PipelineError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
            return []

    def failure(self, video_id: str) -> dict[str, Any] | None:
        """What is recorded about a failed video, or None."""
        try:
            value = read_json(self.failure_path(video_id), what="failure")
        except PipelineError:
            return None
        return value if isinstance(value, dict) else None

    def refresh(self, video_id: str) -> bool:
        """Whether there is news of a video since the store was listed: made, or failed, by another process.

        A local store is never listed, so that there is none.
        """
        sidecar, failure = self.sidecar_path(video_id), self.failure_path(video_id)
        if not isinstance(sidecar, RemotePath) or not isinstance(failure, RemotePath):
            return False
        array = self.array_path(video_id)
        made = sidecar.refresh() and isinstance(array, RemotePath) and array.refresh()
        return made or failure.refresh()

    def prefetch(self, ids: Iterable[str]) -> None:
        """Tells in which order videos will be asked for; of a remote store, sidecars are then read ahead in that order
        (without being told, in the order of the ids)."""
        if isinstance(folder := self.path / "features", RemotePath):
            names = []
            for video_id in ids:
                with contextlib.suppress(PipelineError):  # an id that no file name can be made of
                    names.append(self.sidecar_path(video_id).name)
            folder.prefetch(names)

    def require_sidecar(self, video_id: str) -> dict[str, Any]:
        """The sidecar of a video that is done.

        Raises:
            PipelineError: the video is not in the store, or its files do not fit each other.
        """
        sidecar = self.sidecar(video_id)
        if sidecar is None:
            if differing := self.foreign_fields(video_id):
                raise PipelineError(
                    f"{self.sidecar_path(video_id)} was made with other settings than its store; `verify --repair` "
                    "removes it, and the stage makes it again. "
                    f"Here is the store, there the sidecar: {'; '.join(differing)}"
                )
            known = ", ".join(self.ids()[:3]) or "none"
            raise PipelineError(
                f"{self.path} has no complete features of {video_id!r} (it has: {known}, …); run `verify`"
            )
        return sidecar

    def read(self, video_id: str) -> FeatureSequence:
        """The sequence of a video, its features memory-mapped; of a remote store from a copy in the local cache.

        Raises:
            PipelineError: the video is not in the store, or its files do not fit each other.
        """
        return self._sequence(video_id, self.require_sidecar(video_id))

    def _sequence(self, video_id: str, sidecar: dict[str, Any]) -> FeatureSequence:
        path = self.array_path(video_id)

        def check(copy: Path) -> None:
            rows = read_npy(copy, what="features")
            if hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest() != sidecar["sha256"]:
                raise PipelineError(f"{path} is not the array that its sidecar describes; run `verify --deep --repair`")

        while True:
            copy = cached(path, check=check)
            try:
                features = read_npy(copy, what="features")
                break
            except PipelineError:
                if not self.is_remote or copy.exists():  # else another process made room in the cache at this moment
                    raise
        if list(features.shape) != sidecar["shape"] or features.dtype != self.spec.dtype:
            found = f"{features.dtype} {list(features.shape)}"
            raise PipelineError(f"{path} is {found}, its sidecar says {sidecar['shape']}; run `verify --repair`")
        return FeatureSequence(id=video_id, features=features, sidecar=sidecar)

    def sequences(self, ids: Iterable[str] | None = None) -> Iterator[FeatureSequence]:
        """All sequences, or those of ``ids``, in that order; of a remote store the next are fetched meanwhile."""
        ids = self.ids() if ids is None else ids
        if not self.is_remote:
            yield from map(self.read, ids)
            return
        with ThreadPoolExecutor(_READ_AHEAD) as pool:
            coming: deque[Future[FeatureSequence]] = deque()
            try:
                for video_id in ids:
                    # Sidecars are read here, in order, so that some can be read at once.
                    coming.append(pool.submit(self._sequence, video_id, self.require_sidecar(video_id)))
                    if len(coming) > _READ_AHEAD:
                        yield coming.popleft().result()
                while coming:
                    yield coming.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def fingerprint(self) -> str:
        """SHA-256 over the spec and all sequences (ids and array hashes): equal for stores of equal content."""
        digest = hashlib.sha256(json.dumps(self.spec.as_json(), sort_keys=True).encode())
        for video_id in self.ids():
            sidecar = self.sidecar(video_id)
            digest.update(json.dumps([video_id, sidecar["sha256"] if sidecar else None]).encode())
        return digest.hexdigest()

    def writer(self, video_id: str) -> SequenceWriter:
        """A writer for the sequence of a video; rows go to the disk as they come."""
        return SequenceWriter(self, video_id)

    def remove(self, video_id: str) -> None:
        """Takes the rows of a video out of the store: the sidecar first, so that nothing half-removed is believed."""
        self.sidecar_path(video_id).unlink(missing_ok=True)
        self.array_path(video_id).unlink(missing_ok=True)

    def next_attempt(self, video_id: str) -> int:
        """Which attempt at a video the next one is, by its recorded failures; 1 is the first."""
        return int((self.failure(video_id) or {}).get("attempts", 0)) + 1

    def write_failure(
        self, video_id: str, *, kind: str, reason: str, source: dict[str, Any], attempt: int | None = None
    ) -> None:
        """Records that a video failed, in which attempt (None: one more than is recorded), and why."""
        attempts = attempt or self.next_attempt(video_id)
        value = {"id": video_id, "kind": kind, "reason": reason, "attempts": attempts, "source": source}
        write_json(self.failure_path(video_id), value)


class SequenceWriter:
    """Writes one sequence row by row; nothing is visible in the store before :meth:`commit`.

    As a context manager it discards what was not committed.
    """

    def __init__(self, store: FeatureStore, video_id: str) -> None:
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
        """Removes what was written; does nothing after a commit."""
        try:
            if self._file is not None:
                with contextlib.suppress(OSError):  # on a full disk closing fails again, on what is thrown away
                    self._file.close()
        finally:
            self._partial.unlink(missing_ok=True)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._file = self._partial.open("wb")
            self._file.write(_array_header(self._store.spec, 0))
        return self._file

    @property
    def rows(self) -> int:
        return self._rows

    def append(self, features: np.ndarray) -> None:
        """Adds rows [n, C]; they are converted to the store's dtype.

        Raises:
            PipelineError: another width, or values that are not finite in the store's dtype.
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

    def commit(self, details: dict[str, Any]) -> None:
        """Publishes the array, then the sidecar.

        Args:
            details: of this video: ``duration_seconds``, ``source``, ``decoder``, …; the rest is added here.
                ``rows`` too, where rows follow each video's own rate.
        """
        store, spec = self._store, self._store.spec
        file = self._opened()
        file.seek(0)
        file.write(_array_header(spec, self._rows))
        file.close()
        store.refresh(self._id)  # of a remote store it is not known what others have written meanwhile
        # An older sidecar must not vouch for another array; for an equal one, from another process, it may.
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
        # Before the sidecar, so that no moment leaves a video both done and failed.
        store.failure_path(self._id).unlink(missing_ok=True)
        write_json(store.sidecar_path(self._id), sidecar)


def _array_header(spec: StoreSpec, rows: int) -> bytes:
    """The .npy header of a [rows, C] array.

    NumPy leaves room for the first axis to grow, so the length is the same for every number of rows: rows can be
    written before their number is known.
    """
    buffer = io.BytesIO()
    header = {
        "descr": np.dtype(spec.dtype).newbyteorder("<").str,
        "fortran_order": False,
        "shape": (rows, spec.channels),
    }
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def _list(path: AnyPath) -> None:
    """Takes the names and sizes of a remote store anew, with a few requests for each thousand files."""
    if isinstance(path, RemotePath):
        for folder in (path, path / "features", path / "failures"):
            folder.list_anew()


def _foreign(folder: AnyPath, known: Collection[str]) -> bool:
    """Whether the folder holds visible files that are not a store's.

    An interrupted start leaves `features/`; another process may have made `store.json` a moment ago.
    """
    own = {"store.json", "features", "failures", "logs", "parts", *known}
    return any(p.name not in own and not p.name.startswith(".") for p in folder.iterdir())


def _is_packed(path: AnyPath) -> bool:
    return (path / "index.json").is_file() and (path / "shards").is_dir() and not (path / "features").is_dir()


def _remove_leftovers(path: AnyPath) -> None:
    """Removes temporary files that nobody will finish; those of other living processes stay."""
    if isinstance(path, RemotePath):
        remove_leftovers()
        return
    parts = path / "parts"
    for folder in (path, path / "features", path / "failures", *(parts.iterdir() if parts.is_dir() else ())):
        remove_abandoned(folder)


def _json_files(folder: AnyPath) -> Iterator[AnyPath]:
    if folder.is_dir():
        yield from (p for p in folder.iterdir() if p.suffix == ".json" and not p.name.startswith("."))


MODULE_FILE = "sola.safetensors"


_CHUNK_ROWS = 4096


def chunks_of(features: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of a (memory-mapped) sequence [T, C], some thousand at a time."""
    for start in range(0, len(features), _CHUNK_ROWS):
        yield np.array(features[start : start + _CHUNK_ROWS])
