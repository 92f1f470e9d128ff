"""Reuse the detections of an earlier run of `localize` with the same model and settings.

The detections file records, for each video, the size of its file or the SHA-256 of its features. Tables and subtitles
have no room for that: their record is a detections file beside them, .NAME.json. The detections of an unfinished run
lie there too, in .NAME.unfinished.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.annotations.detections import read_detections, read_external_data, write_detections
from pipeline.annotations.segments import Detection
from pipeline.cluster.config import settings_of_results
from pipeline.config import LocalizeConfig
from pipeline.detection.model import LocalizationModel
from pipeline.errors import PipelineError
from pipeline.showing.files import files_of, write_form
from pipeline.showing.listing import PROPOSED_SCORE
from pipeline.storage.atomic_files import remove
from pipeline.storage.location import AnyPath
from pipeline.storage.read_files import sha256_of_file
from pipeline.storage.stamps import stamp_of
from pipeline.storage.temporary_names import remove_abandoned
from pipeline.store.feature_store import FeatureStore
from pipeline.video.find import find_videos

_KEEP_SECONDS = 30.0  # between two writes of an unfinished run

Found = Mapping[str, list[Detection]]


class Localized:
    """Reads the detections in `out` that are valid for these inputs and settings, and writes new ones.

    Args:
        scores_file: the scores of whole videos that give the detections their classes.

    Attributes:
        known: detections by video, of the videos that need not be done again.
        proposed_score: the score from which detections should be shown; None if it is not known.
    """

    def __init__(
        self,
        out: Path,
        inputs: Sequence[AnyPath],
        model: LocalizationModel,
        config: LocalizeConfig,
        scores_file: Path | None = None,
    ) -> None:
        remove_abandoned(out.parent)
        scores = sha256_of_file(scores_file) if scores_file is not None and scores_file.is_file() else ""
        settings = json.dumps([settings_of_results(config), scores], sort_keys=True, default=str)
        self._out, self._unfinished = out, out.with_name(f".{out.name}.unfinished")
        self._record = out if out.suffix.lower() == ".json" else out.with_name(f".{out.name}.json")
        self._about: dict[str, Any] = {"model": model.identity, "settings": sha256(settings.encode()).hexdigest()}
        # It holds for the model's own scores only.
        self.proposed_score = model.best_score.score if model.best_score is not None and not scores else None
        if self.proposed_score is not None:
            self._about[PROPOSED_SCORE] = self.proposed_score
        self._inputs = _inputs(inputs, config)
        is_there = all(file.is_file() for file in files_of(out, list(self._inputs)).values()) or out.is_file()
        self._written = self._read(self._record) if is_there else {}
        self.known = {**self._read(self._unfinished), **self._written}
        self._kept = time.monotonic()

    def keep(self, found: Callable[[], Found]) -> None:
        """Write the detections so far, unless the last write was a moment ago."""
        if time.monotonic() - self._kept >= _KEEP_SECONDS:
            self._write(self._unfinished, found())
            self._kept = time.monotonic()

    def write(self, found: Found) -> bool:
        """Write the detections of a finished run; return whether the file changed."""
        is_new = found != self._written or found.keys() != self._ids_written()
        if is_new and self._record == self._out:
            self._write(self._out, found)
        elif is_new:
            self._write(self._unfinished, found)
            self._record.unlink(missing_ok=True)  # it stands for a whole table, also if this is interrupted
            write_form(self._out, found, self.proposed_score)
            self._unfinished.replace(self._record)
        remove(self._unfinished)
        return is_new

    def _ids_written(self) -> Set[str]:
        try:
            of = read_external_data(self._record).get("inputs")
        except PipelineError:
            return frozenset()
        return of.keys() if isinstance(of, dict) else frozenset()

    def _write(self, file: Path, found: Found) -> None:
        of = {video_id: self._inputs[video_id].content for video_id in found if video_id in self._inputs}
        write_detections(file, found, extra={**self._about, "inputs": of})

    def _read(self, file: Path) -> dict[str, list[Detection]]:
        try:
            made, about = file.stat().st_mtime_ns, read_external_data(file)
            of = about.get("inputs")
            if not isinstance(of, dict) or any(about.get(name) != value for name, value in self._about.items()):
                return {}
            found = read_detections(file)
        except (OSError, PipelineError):
            return {}
        return {
            video_id: found[video_id]
            for video_id, video in self._inputs.items()
            if video_id in found and of.get(video_id) == video.content and video.changed_ns <= made
        }


@dataclass(frozen=True)
class _Input:
    """A video as it is now.

    Args:
        content: bytes of its file, bytes and version of a remote one, or the SHA-256 of its features.
        changed_ns: time of the last change of the file; 0 if `content` suffices.
    """

    content: int | str
    changed_ns: int = 0


def _inputs(inputs: Sequence[AnyPath], config: LocalizeConfig) -> dict[str, _Input]:
    """Return the videos by id, leaving out those that cannot be read."""
    if stores := [path for path in inputs if (path / "store.json").is_file()]:
        store = FeatureStore.open(stores[0])
        sidecars = ((video_id, store.sidecar(video_id)) for video_id in store.ids())
        return {video_id: _Input(sidecar["sha256"]) for video_id, sidecar in sidecars if sidecar is not None}
    try:
        videos = find_videos(inputs, ids=config.ids, frame_rate=config.frame_rate)
    except PipelineError:  # `localize` reports it
        return {}
    stamps = ((video.id, stamp_of(video.path)) for video in videos)
    known = ((video_id, stamp) for video_id, stamp in stamps if stamp is not None)
    return {i: _Input(size, time) if isinstance(time, int) else _Input(f"{size} {time}") for i, (size, time) in known}
