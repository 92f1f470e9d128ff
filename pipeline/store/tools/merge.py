"""Merge stores of one kind, such as those that the parts of a job array, or several sites, made."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import PipelineError
from pipeline.progress import Report, silent
from pipeline.storage.atomic_files import whole_file
from pipeline.storage.local import temporary_copy
from pipeline.storage.location import AnyPath
from pipeline.storage.read_files import sha256_of_file
from pipeline.store.feature_store import FeatureStore
from pipeline.store.sequence import check_hash
from pipeline.text.plain import counted

_SHOWN = 5


@dataclass(frozen=True)
class MergeSummary:
    """Number of sequences copied now, of sequences that were there before, and of failures copied."""

    copied: int
    present: int
    failures: int

    def text(self) -> str:
        """Return one line of counts."""
        copied, failures = counted(self.copied, "sequence"), counted(self.failures, "failure")
        return f"{copied} copied, {self.present} were there, {failures}"


def merge(sources: Sequence[FeatureStore], out: AnyPath, *, report: Report = silent) -> MergeSummary:
    """Copy the sequences of all stores into the store `out`, which may hold some already.

    A video that several stores have is copied once. A failure is copied if no store has the video. Files beside the
    sequences (the SoLa module of enhanced stores) come from the first store. Logs are not copied.

    Args:
        sources: two or more, of one spec.
        report: gets the share of sequences done, 0 to 1.

    Raises:
        PipelineError: the specs differ (the message names the fields), stores have different features of one video (the
            message names the ids; nothing was copied), or an array is not what its sidecar says.
    """
    if len(sources) < 2:
        raise PipelineError(f"stores must be two or more to merge, got {len(sources)}")
    first = sources[0]
    for other in sources[1:]:
        if differing := first.spec.differences(other.spec):
            raise PipelineError(
                f"{first.path} and {other.path} hold features of different settings and cannot be merged. Here is the "
                f"first, there the other: {'; '.join(differing)}"
            )
    beside = {p.name for p in first.path.iterdir() if p.is_file() and not p.name.startswith(".")} - {"store.json"}
    store = FeatureStore.create(out, first.spec, beside=beside)
    origin: dict[str, FeatureStore] = {}
    hashes: dict[str, str] = {}
    clashes = []
    for source in (store, *sources):
        for video_id in source.ids():
            sha256 = source.require_sidecar(video_id)["sha256"]
            if hashes.setdefault(video_id, sha256) != sha256:
                clashes.append(f"{video_id} ({origin[video_id].path} and {source.path})")
            origin.setdefault(video_id, source)
    if clashes:
        more = f", and {len(clashes) - _SHOWN} more" if len(clashes) > _SHOWN else ""
        raise PipelineError(
            f"{counted(len(clashes), 'video', 'has', 'have')} different features in two stores: "
            f"{', '.join(clashes[:_SHOWN])}{more}; remove those that are not wanted (an array and its sidecar), or "
            "merge into another --out"
        )
    todo = [video_id for video_id in sorted(origin) if origin[video_id] is not store]
    for number, video_id in enumerate(todo):
        _copy_sequence(origin[video_id], store, video_id)
        report((number + 1) / len(todo), f"{number + 1}/{len(todo)} sequences")
    for name in sorted(beside):
        if not _is_there(first.path / name, store.path / name):
            _copy(first.path / name, store.path / name)
    failures = 0
    for source in sources:
        for video_id in source.failed_ids():
            if video_id not in origin and store.failure(video_id) is None:
                _copy(source.failure_path(video_id), store.failure_path(video_id))
                failures += 1
    return MergeSummary(len(todo), len(origin) - len(todo), failures)


def _copy_sequence(source: FeatureStore, store: FeatureStore, video_id: str) -> None:
    sha256 = source.require_sidecar(video_id)["sha256"]
    with temporary_copy(source.array_path(video_id)) as array, whole_file(store.array_path(video_id)) as partial:
        shutil.copyfile(array, partial)
        check_hash(partial, sha256, where=source.array_path(video_id))
    store.failure_path(video_id).unlink(missing_ok=True)
    _copy(source.sidecar_path(video_id), store.sidecar_path(video_id))


def _is_there(source: AnyPath, target: AnyPath) -> bool:
    return target.is_file() and sha256_of_file(target) == sha256_of_file(source)


def _copy(source: AnyPath, target: AnyPath) -> None:
    with temporary_copy(source) as file, whole_file(target) as partial:
        shutil.copyfile(file, partial)
