"""The feature store: a folder of feature sequences that explain themselves.

    STORE/store.json            the spec that all rows share
    STORE/features/<id>.npy     float32 or float16 [T, C], plain `np.load`
    STORE/features/<id>.json    the sidecar: what row i means, provenance, shape, SHA-256 of the array
    STORE/failures/<id>.json    a video that failed: class of failure and reason
    STORE/parts/<id>/           finished ranges of a long video, while others of it are still to come
    STORE/logs/                 a log of JSON lines for each process that worked on the store

The array is published first, its sidecar last, each in one step. So a sidecar whose array has the stated size means
*done*; anything else means *not done*, and is made again. No locks: processes that share a store write equal files.

A store may lie in object storage; `pipeline.storage` says what is required of it. Unfinished rows lie in a local file;
arrays are read from local copies.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.storage.atomic_files import write_json, write_new_json
from pipeline.storage.local import cached
from pipeline.storage.location import AnyPath
from pipeline.storage.npy import read_npy
from pipeline.storage.read_files import read_json
from pipeline.store.folder import has_foreign_files, is_packed, list_anew, remove_store_leftovers
from pipeline.store.records import FailureRecord, Sidecar, SourceRecord
from pipeline.store.sequence import FeatureSequence, check_hash
from pipeline.store.sequence_writer import SequenceWriter
from pipeline.store.spec import SCHEMA, StoreSpec
from pipeline.store.store_files import StoreFiles

MODULE_FILE = "sola.safetensors"
_READ_AHEAD = 4  # arrays fetched from object storage while another is used


class FeatureStore(StoreFiles):
    """A feature store, local or in object storage. Use `create` or `open`."""

    @classmethod
    def open(cls, path: AnyPath) -> FeatureStore:
        """Open the store in folder `path`.

        Raises:
            PipelineError: the folder holds no store, or one of another schema.
        """
        list_anew(path)
        return cls._open(path)

    @classmethod
    def _open(cls, path: AnyPath) -> FeatureStore:
        if not (path / "store.json").is_file():
            raise PipelineError(
                f"{path} is not a feature store: it has no store.json (make one with `extract`, or from feature "
                "files with `import`)"
            )
        if is_packed(path):
            raise PipelineError(f"{path} is a packed store; unpack it first: `store unpack {path} --out FOLDER`")
        value = read_json(path / "store.json", what="feature store")
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            found = value.get("schema") if isinstance(value, dict) else None
            raise PipelineError(f"{path / 'store.json'}: schema must be {SCHEMA}, got {found!r}")
        return cls(path, StoreSpec.from_json(value, where=path / "store.json"))

    @classmethod
    def create(cls, path: AnyPath, spec: StoreSpec, *, beside: Collection[str] = ()) -> FeatureStore:
        """Open the store in `path`, or make it, and remove what killed processes left half-written.

        Args:
            beside: names of other files that may stand in the folder already.

        Raises:
            PipelineError: the folder holds a store of another spec (the differing fields are named) or other files.
        """
        list_anew(path)
        if not (path / "store.json").exists():
            if path.exists() and (not path.is_dir() or has_foreign_files(path, beside)):
                raise PipelineError(f"{path} exists and is not a feature store; choose another --out")
            (path / "features").mkdir(parents=True, exist_ok=True)
            # Another process may make the store at this moment, with other settings: the spec of the first one holds.
            write_new_json(path / "store.json", {"schema": SCHEMA, **spec.as_json()})
        store = cls._open(path)
        store.refuse_other(spec)
        remove_store_leftovers(path)
        return store

    def refuse_other(self, spec: StoreSpec) -> None:
        """Raise PipelineError, with the differing fields, if `spec` is not the store's."""
        if differing := self.spec.differences(spec):
            raise PipelineError(
                f"{self.path} holds features of other settings; choose another --out, or the same settings. "
                f"Here is the store, there what was asked for: {'; '.join(differing)}"
            )

    def require_sidecar(self, video_id: str) -> Sidecar:
        """Return the sidecar of a video that is done.

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
        """Read the sequence of a video, memory-mapped; that of a remote store from a copy in the local cache.

        Raises:
            PipelineError: the video is not in the store, or its files do not fit each other.
        """
        return self._sequence(video_id, self.require_sidecar(video_id))

    def _sequence(self, video_id: str, sidecar: Sidecar) -> FeatureSequence:
        path = self.array_path(video_id)

        def check(copy: Path) -> None:
            check_hash(copy, sidecar["sha256"], where=path)

        while True:
            copy = cached(path, check=check)
            try:
                features = read_npy(copy, what="features")
                break
            except PipelineError:
                # If a copy of a remote array is gone, another process has removed it to make room in the cache.
                if not self.is_remote or copy.exists():
                    raise
        if list(features.shape) != sidecar["shape"] or features.dtype != self.spec.dtype:
            found = f"{features.dtype} {list(features.shape)}"
            raise PipelineError(f"{path} is {found}, its sidecar says {sidecar['shape']}; run `verify --repair`")
        return FeatureSequence(id=video_id, features=features, sidecar=sidecar)

    def sequences(self, ids: Iterable[str] | None = None) -> Iterator[FeatureSequence]:
        """Yield all sequences, or those of `ids`, in that order; fetch the next ones of a remote store meanwhile."""
        ids = self.ids() if ids is None else ids
        if not self.is_remote:
            yield from map(self.read, ids)
            return
        with ThreadPoolExecutor(_READ_AHEAD) as pool:
            coming: deque[Future[FeatureSequence]] = deque()
            try:
                for video_id in ids:
                    # Sidecars are read here, in order, so that several can be fetched at once.
                    coming.append(pool.submit(self._sequence, video_id, self.require_sidecar(video_id)))
                    if len(coming) > _READ_AHEAD:
                        yield coming.popleft().result()
                while coming:
                    yield coming.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def fingerprint(self) -> str:
        """Return a SHA-256 over the spec and all ids and array hashes: equal for stores of equal content."""
        digest = hashlib.sha256(json.dumps(self.spec.as_json(), sort_keys=True).encode())
        for video_id in self.ids():
            sidecar = self.sidecar(video_id)
            digest.update(json.dumps([video_id, sidecar["sha256"] if sidecar else None]).encode())
        return digest.hexdigest()

    def writer(self, video_id: str) -> SequenceWriter:
        """Return a writer for the sequence of a video; it writes rows to the disk as they come."""
        return SequenceWriter(self, video_id)

    def remove(self, video_id: str) -> None:
        """Remove the rows of a video: the sidecar first, so that a half-removed video does not count as done."""
        self.sidecar_path(video_id).unlink(missing_ok=True)
        self.array_path(video_id).unlink(missing_ok=True)

    def next_attempt(self, video_id: str) -> int:
        """Return the number of the next attempt at a video, from its recorded failures; 1 is the first."""
        return int((self.failure(video_id) or {}).get("attempts", 0)) + 1

    def write_failure(
        self, video_id: str, *, kind: str, reason: str, source: SourceRecord, attempt: int | None = None
    ) -> None:
        """Record that a video failed, and why.

        Args:
            kind: the class of failure. reason: in words.
            source: the file, as in a sidecar.
            attempt: its number; None: one more than is recorded.
        """
        attempts = attempt or self.next_attempt(video_id)
        record = FailureRecord(id=video_id, kind=kind, reason=reason, attempts=attempts, source=source)
        write_json(self.failure_path(video_id), record)
