"""Write the sequences of a store after a SoLa module or a filter: same ids, same shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.errors import PipelineError
from pipeline.progress import Report
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore
from pipeline.store.sequence import FeatureSequence, chunks_of, origin_of, video_details
from pipeline.text.plain import counted
from sola.distributed import ALONE, Team
from sola.filters import Filter, enhanced_by
from sola.module import SolaModule


def refuse_as_source(source: FeatureStore, out: AnyPath) -> None:
    """Raise PipelineError if `source` has nothing to enhance, is enhanced already, or is `out` itself."""
    if source.spec.sola is not None:
        raise PipelineError(f"{source.path} is already enhanced; give the store that `extract` wrote")
    if not source.ids():
        raise PipelineError(f"{source.path} has no features yet; run `extract` first")
    if out.resolve() == source.path.resolve():
        raise PipelineError(f"--out must be another folder than the store itself, got {out}")


def enhance_sequences(
    source: FeatureStore,
    store: FeatureStore,
    by: SolaModule | Filter,
    *,
    report: Report,
    note: Callable[[str], None],
    team: Team = ALONE,
) -> tuple[int, int]:
    """Write this process's share of the sequences; return the numbers enhanced now and before, of all processes.

    Args:
        source: plain features.
        store: gets the enhanced ones; sequences of it that are done and still fit their source are kept.
        by: the module or the filter.
        report: gets the share that is done, 0 to 1.
        note: called with a line about sequences whose source is gone.
        team: the processes that share the work.
    """
    done = skipped = 0
    ids = team.broadcast(source.ids())[team.rank :: team.size]

    def to_do() -> Iterator[str]:
        nonlocal skipped
        for video_id in ids:
            if _is_enhanced(source, video_id, store):
                skipped += 1
            else:
                yield video_id

    for sequence in source.sequences(to_do()):
        _enhance_one(sequence, by, store)
        done += 1
        report((skipped + done) / len(ids), f"{skipped + done}/{len(ids)} sequences")
    if team.is_first and (gone := sorted(set(store.ids()) - set(source.ids()))):
        note(
            f"{store.path} has {counted(len(gone), 'sequence')} of videos that {source.path} no longer has "
            f"({', '.join(gone[:3])}): remove them, or choose another --out"
        )
    parts = team.all_gather((done, skipped))
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


def _is_enhanced(source: FeatureStore, video_id: str, store: FeatureStore) -> bool:
    before = store.sidecar(video_id)
    return before is not None and before.get("enhanced_from") == origin_of(source.require_sidecar(video_id))


def _enhance_one(sequence: FeatureSequence, by: SolaModule | Filter, store: FeatureStore) -> None:
    with store.writer(sequence.id) as writer:
        for rows in enhanced_by(by, chunks_of(sequence.features)):
            writer.append(rows)
        writer.commit({**video_details(sequence.sidecar), "enhanced_from": origin_of(sequence.sidecar)})
