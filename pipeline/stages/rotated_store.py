"""Stage: feature store → the same features with their channels turned at random, a control that must change nothing."""

from __future__ import annotations

from dataclasses import replace

from pipeline.stages.enhanced_store import refuse_as_source
from pipeline.stages.probe_views import rotation
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore
from pipeline.store.sequence import origin_of, video_details


def rotated_store(source: FeatureStore, out: AnyPath) -> FeatureStore:
    """Write the store `out`: every row of `source` turned by one random rotation, inside each stream.

    Args:
        source: a store of plain features.
        out: sequences in it that are done and still fit their source are kept.

    Raises:
        PipelineError: there is nothing to turn, or `out` holds something else.
    """
    refuse_as_source(source, out)
    # As another encoder's features: a head that has learned from them cannot read plain ones.
    encoder = {**source.spec.encoder, "name": f"{source.spec.encoder.get('name', 'unknown')}, channels turned"}
    store = FeatureStore.create(out, replace(source.spec, encoder=encoder))
    turn = rotation(source.spec.channels, source.spec.stream_channels)

    origins = {video_id: origin_of(source.require_sidecar(video_id)) for video_id in source.ids()}
    to_do = [i for i, origin in origins.items() if (store.sidecar(i) or {}).get("turned_from") != origin]
    for sequence in source.sequences(to_do):
        with store.writer(sequence.id) as writer:
            writer.append(turn(sequence.features).astype(source.spec.dtype))
            writer.commit({**video_details(sequence.sidecar), "turned_from": origin_of(sequence.sidecar)})
    return store
