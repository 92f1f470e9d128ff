"""Detect actions in rows that keep arriving: each window of rows is searched once it is whole, and then forgotten.

The windows are those of `pipeline.detection.inference.detect`, so the candidates are the same. Suppression sees one
window at a time, not the whole video: the only difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.annotations.segments import Detection
from pipeline.detection.inference import answer, windows
from pipeline.detection.model import LocalizationModel
from pipeline.detection.nms import suppress
from pipeline.errors import PipelineError
from pipeline.heads.candidates import RowTimes, to_seconds
from pipeline.snippets import SnippetPlan
from sola.enhance import enhance_array
from sola.module import SolaModule

_LEAST_ROWS = 8  # of a window


@dataclass(frozen=True)
class LiveWindows:
    """How live rows are searched.

    Args:
        rows: length of a window; windows overlap by half.
        reach: rows on either side that SoLa needs.
    """

    rows: int
    reach: int

    def delay_seconds(self, plan: SnippetPlan) -> float:
        """Return the longest time from the center of an action to its line, without the time to compute.

        The first window answers for centers from its beginning on, so it waits longest: for its own rows, one more that
        shows that it is not the last, and with SoLa half a window and its reach. A row ends one `window_seconds` after
        it begins, and a frame ends when the next one comes: one more frame.
        """
        rows = self.rows + (self.rows // 2 + self.reach if self.reach else 0)
        return float(rows * plan.stride_seconds + plan.window_seconds + 1 / plan.rate)


def live_windows(model: LocalizationModel, seconds: float) -> LiveWindows:
    """Return the windows for a model, about `seconds` long.

    Raises:
        PipelineError: the model needs whole videos.
    """
    plan = model.features.plan
    if plan.fps is None:
        raise PipelineError(
            "live: rows of this model follow each video's own frame rate; train one with a rate of its own"
        )
    if model.head.config.resize_snippets:
        raise PipelineError(
            "live: the head of this model resizes whole videos; train another head, such as anchor_free"
        )
    if model.sola is not None and not isinstance(model.sola, SolaModule):
        raise PipelineError("live: this model filters whole videos; use one trained on plain or SoLa's features")
    rows = round(seconds / float(plan.stride_seconds)) // 4 * 4
    rows = min(max(_LEAST_ROWS, rows), model.head.config.test_limit)
    return LiveWindows(rows, model.sola.receptive_radius if isinstance(model.sola, SolaModule) else 0)


def live_detections(
    model: LocalizationModel,
    how: LiveWindows,
    rows: Iterable[np.ndarray],
    *,
    seconds: Callable[[], float],
    device: str | torch.device,
) -> Iterator[list[Detection]]:
    """Yield the detections of each window as soon as it is whole, best first; hold one window at most.

    Args:
        rows: arrays [n, C], plain features in order; they end when the source does.
        seconds: returns the duration of the source; called at its end. Segments of earlier windows may reach beyond it.
    """
    head, plan = model.head.to(device).eval(), model.features.plan
    module = model.sola
    if isinstance(module, SolaModule):
        rows = enhanced_soon(module, rows, size=how.rows // 2)
    for window in windows(rows, length=how.rows):
        found = to_seconds(
            answer(head, window, model.post, torch.device(device)),
            RowTimes.of(plan, seconds() if window.owned[1] == float("inf") else float("inf")),
        )
        kept = suppress(found, model.post)
        rest = zip(kept.segments.tolist(), kept.labels.tolist(), kept.scores.tolist(), strict=True)
        yield [Detection((start, stop), model.labels[label], score) for (start, stop), label, score in rest]


def enhanced_soon(module: SolaModule, rows: Iterable[np.ndarray], *, size: int) -> Iterator[np.ndarray]:
    """Yield rows after SoLa in pieces of `size`, each as soon as the rows that it depends on are there.

    `sola.enhance.enhance` waits for 1024 rows; the values are the same up to rounding.
    """
    radius = module.receptive_radius
    held, first, done = np.empty((0, module.channels), np.float32), 0, 0  # held[0] is row `first`; `done` rows are out
    for chunk in rows:
        held = np.concatenate([held.astype(chunk.dtype), chunk])
        while first + len(held) >= done + size + radius:
            yield enhance_array(module, held[: done + size + radius - first])[done - first : done - first + size]
            done += size
            kept = max(first, done - radius)
            held, first = held[kept - first :], kept
    if first + len(held) > done:
        yield enhance_array(module, held)[done - first :]
