"""Stage: a live source + MODEL → detections, one JSON line each, as they are found."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from pipeline.config import LocalizeConfig
from pipeline.detection.live import LiveWindows, live_detections, live_windows
from pipeline.detection.locator import Locator
from pipeline.detection.model import LocalizationModel
from pipeline.detection.overrides import with_options
from pipeline.errors import PipelineError
from pipeline.video.errors import VideoError
from pipeline.video.live_process import LiveDecoder
from pipeline.video.live_source import is_endless, without_password
from sola.device import resolve_device

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds before another try to connect; doubled each time

Note = Callable[[str], None]


class LiveLocator:
    """A model and its encoder, for one live source.

    Raises:
        PipelineError, EncoderError: no such source or weights, or the model needs whole videos.
    """

    def __init__(self, source: str, model: LocalizationModel, config: LocalizeConfig, *, note: Note) -> None:
        self._endless = is_endless(source)
        self._source, self._config, self._note = source, config, note
        self._name = without_password(source)
        self._model = with_options(model, config)
        self._how: LiveWindows = live_windows(self._model, config.live_window_seconds)
        if model.plain_features.plan.flow:
            raise PipelineError("live: the model needs optical flow, which is too slow; train one with streams 'rgb'")
        if "audio" in self._model.plain_features.encoder.get("encoders", {}):
            raise PipelineError("live: the model needs audio, which is not read live; train one with streams 'rgb'")
        locator = Locator(self._model, config)
        self._encoder, self._spec = locator.encoder, locator.features
        self.notes = locator.notes
        self.delay_seconds = self._how.delay_seconds(self._spec.plan)
        self._origin: float | None = None  # of the first connection, on the monotonic clock
        self._offset = self._seconds = 0.0  # of this connection; of its last frame
        self._heard_at = 0.0  # when the last frame came, on the monotonic clock
        self._broken: VideoError | None = None  # what ended this connection

    def write(self, out: Path) -> int:
        """Append lines to `out` until the source ends; return their number. A camera does not end: press Ctrl-C."""
        count = 0
        with out.open("a", encoding="utf-8") as file:
            for line in self.lines():
                _write(file, line)
                count += 1
        return count

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield one record for each detection; connect again, after a growing wait, whenever a camera breaks off.

        Raises:
            PipelineError: a file cannot be read; a camera has sent no picture for `live_retry_seconds`.
        """
        wait, self._heard_at = _FIRST_WAIT, time.monotonic()
        while True:
            begun = time.monotonic()
            try:
                yield from self._connection()
                reason = "the source has ended"
            except VideoError as error:
                reason = str(error)
                if not self._endless or error.kind == "refused_container":
                    raise PipelineError(f"live: {self._name}: {reason}") from None
            if not self._endless:
                return
            now = time.monotonic()
            wait = _FIRST_WAIT if now - begun > _LONGEST_WAIT else wait
            if (silent := now - self._heard_at) + wait > self._config.live_retry_seconds:
                raise PipelineError(f"live: {self._name}: no picture for {silent:.0f} s, given up; {reason}")
            self._note(f"{self._name}: {reason}; connecting again in {wait:g} s")
            time.sleep(wait)
            wait = min(_LONGEST_WAIT, 2 * wait)

    def _connection(self) -> Iterator[dict[str, Any]]:
        decoder = LiveDecoder(
            self._source,
            self._spec.plan,
            self._encoder.spec,
            idle_seconds=self._config.live_idle_seconds,
            timeout_seconds=self._config.timeout_seconds,
        )
        with decoder:
            decoder.open()
            now = time.monotonic()
            self._origin = now if self._origin is None else self._origin
            self._offset, self._seconds, self._broken = now - self._origin, 0.0, None
            yield from self._found(decoder)
            if self._broken is not None:
                raise self._broken

    def _found(self, decoder: LiveDecoder) -> Iterator[dict[str, Any]]:
        device = resolve_device(self._config.device)
        rows = self._rows(decoder)
        if (first := next(rows, None)) is None:
            return
        rows = itertools.chain([first], rows)
        for found in live_detections(self._model, self._how, rows, seconds=lambda: self._seconds, device=device):
            for one in found:
                start, end = (round(self._offset + seconds, 3) for seconds in one.segment)
                yield {
                    "video": self._name if self._endless else Path(self._source).stem,
                    "start": start,
                    "end": end,
                    "label": one.label,
                    "score": one.score,
                    "found_at": round(self._offset + self._seconds, 3),
                }

    def _rows(self, decoder: LiveDecoder) -> Iterator[np.ndarray]:
        def heard(seconds: float) -> None:
            self._seconds, self._heard_at = seconds, time.monotonic()

        try:
            for snippet in decoder.snippets(on_frame=heard):
                features = self._encoder.begin(torch.from_numpy(snippet.frames[None].copy()))()
                yield features.numpy().astype(self._spec.dtype)
        except VideoError as error:  # the rows so far are searched all the same
            self._broken = error


def _write(file: IO[str], line: dict[str, Any]) -> None:
    file.write(json.dumps(line, ensure_ascii=False) + "\n")
    file.flush()
