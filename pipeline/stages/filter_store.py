"""Stage: feature store → store of filtered features, the baselines of SoLa that need no fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.progress import Report, silent
from pipeline.stages.enhanced_store import enhance_sequences, refuse_as_source
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore
from pipeline.store.window_source import StoreSource
from pipeline.text.plain import counted
from sola.config import FilterName, SolaConfig
from sola.filters import Filter, make_filter


def filter_store(
    source: FeatureStore,
    out: AnyPath,
    name: FilterName,
    *,
    width: int = SolaConfig().receptive_snippets,
    report: Report = silent,
    on_note: Callable[[str], None] = lambda line: None,
) -> tuple[FeatureStore, str]:
    """Write the store `out` of filtered features; return it and one line on what was done.

    Args:
        source: a store of plain features.
        name: the filter.
        width: snippets that the linear filter covers.
        report: gets the share that is done, 0 to 1.
        on_note: called with each note for the user.

    Raises:
        PipelineError, SolaError: there is nothing to filter, or `out` holds something else.
    """
    refuse_as_source(source, out)
    by = store_filter(source, name, width=width)
    store = FeatureStore.create(out, replace(source.spec, sola={"filter": by.as_json()}))
    done, skipped = enhance_sequences(source, store, by, report=report, note=on_note)
    taps = f" (taps {' '.join(f'{tap:.3f}' for tap in by.taps)})" if by.taps else ""
    return store, f"filter {name}{taps}; {counted(done, 'sequence')} filtered, {skipped} were filtered before"


def store_filter(source: FeatureStore, name: FilterName, *, width: int) -> Filter:
    """Return a filter for the features of a store; see `sola.filters.make_filter`."""
    sequences = StoreSource(source)
    lengths = np.array([sequences.length(index) for index in range(len(sequences))], dtype=np.int64)
    return make_filter(name, sequences, lengths, width=width)
