"""The frame rates of a store's videos, for labels that count frames."""

from __future__ import annotations

from pipeline.annotations.frames import FpsOf
from pipeline.annotations.match import find_name, names_by_form
from pipeline.store.feature_store import FeatureStore


def fps_in(store: FeatureStore) -> FpsOf:
    """Return a function from a video's id to its frame rate; None for one that is not in the store or has none."""
    forms: dict[str, str] = {}

    def fps_of(name: str) -> float | None:
        if not forms:
            forms.update(names_by_form(store.ids()))
        known = find_name(name, forms)
        sidecar = None if known is None else store.sidecar(known)
        return None if sidecar is None else sidecar.get("video_fps")

    return fps_of
