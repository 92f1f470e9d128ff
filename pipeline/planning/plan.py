"""Predict how long a collection of videos takes on n machines like this one, from a sample measured here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.cluster.cores import usable_cores
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.encode import on_all_devices, open_encoder
from pipeline.planning.config import PlanConfig
from pipeline.planning.estimate import Estimate, compare, estimate_of
from pipeline.planning.plan_model import (
    FILES_A_VIDEO,
    Collection,
    Forecast,
    Machine,
    Shared,
    forecast,
    with_slowdown,
)
from pipeline.planning.speed import decode_speed, hash_speed, import_seconds, joint_speed, store_seconds
from pipeline.progress import Report, silent
from pipeline.storage.location import local
from pipeline.video.find import find_videos
from pipeline.video.pool import default_workers


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The time and work that a collection of videos takes.

    Args:
        collection: the videos planned for; margin: 95% of its snippets and seconds, as a share of them.
        machine: this one, as measured.
        shared: the assumed limits of what all machines share.
        forecasts: for each number of machines.
    """

    collection: Collection
    margin: float
    machine: Machine
    shared: Shared
    forecasts: tuple[Forecast, ...]

    def as_json(self) -> dict[str, Any]:
        """Return all figures, and the bottleneck of each forecast."""
        forecasts = [{**asdict(one), "bottleneck": one.bottleneck} for one in self.forecasts]
        return {**asdict(self), "files": FILES_A_VIDEO * self.collection.videos, "forecasts": forecasts}


def plan(
    inputs: Sequence[Path], out: Path | None, config: ExtractConfig, settings: PlanConfig, *, report: Report = silent
) -> Plan:
    """Predict what `extract(inputs, out, config)` takes on machines like this one.

    Args:
        inputs: video files, folders (searched recursively), text files of paths.
        out: the feature store: its finished videos are left out, and its disk is measured. None: all videos are to do.
        report: called with the share of the finished measurements, 0 to 1.

    Raises:
        PipelineError, EncoderError: `extract` would fail as well, nothing is left to do, or no video of the sample
            can be decoded.
    """
    start = time.perf_counter()
    videos = find_videos(inputs, ids=config.ids, frame_rate=config.frame_rate)
    listed = time.perf_counter()
    encoder, spec = open_encoder(config)
    opened = time.perf_counter()
    report(0.1, "looking at videos")
    compared = compare(videos, out, spec, config)
    found = estimate_of(compared, encoder, spec, config.decoding, sample=settings.sample)
    if not found.snippets:
        raise PipelineError("nothing to plan: no video is left to do, or none of the sample can be read")
    report(0.4, "decoding")
    decode = decode_speed(found.sampled, encoder, spec.plan, config.decoding, seconds=settings.decode_seconds)
    report(0.6, "decoding and encoding")
    encoders = on_all_devices(encoder, config)
    joint = joint_speed(found.sampled, encoders, spec.plan, config.decoding, seconds=settings.decode_seconds)
    report(0.8, "publishing")
    place = _existing(out) if out else None
    rows = max(1, round(found.snippets / len(found.to_do)))
    publish, look_up = store_seconds(spec, rows, found.sampled, where=place)
    machine = Machine(
        cores=usable_cores(),
        decoders=config.workers or default_workers(),
        shares_cores=encoder.device.type == "cpu",
        decode=decode,
        encode=found.snippets_per_second * len(encoders),
        hash=hash_speed(local(found.sampled[0].path)),
        publish=publish,
        start=opened - listed + import_seconds(),
        find=(listed - start) / len(videos),
        look_up=look_up,
    )
    collection = _collection(found)
    machine = with_slowdown(machine, collection, joint=joint)
    if settings.hours is not None:
        collection = collection.of_hours(settings.hours)
    shared = Shared(network=settings.network_gbit * 1e9 / 8, files=settings.files_per_second)
    forecasts = [forecast(collection, machine, shared, machines=count) for count in settings.machines]
    return Plan(collection=collection, margin=found.margin, machine=machine, shared=shared, forecasts=tuple(forecasts))


def _collection(found: Estimate) -> Collection:
    """Return the videos to do; the lengths of those that were not probed are estimated by their bytes."""
    total, videos = sum(found.sizes), len(found.to_do)
    a_byte = found.snippets / max(1, total)
    return Collection(
        videos=videos,
        seconds=found.video_seconds,
        snippets=found.snippets,
        video_bytes=total,
        feature_bytes=found.megabytes * 1e6,
        longest_snippets=max(found.longest, a_byte * max(found.sizes)),
        mean_square_snippets=a_byte**2 * sum(size**2 for size in found.sizes) / videos,
        flow_seconds=found.flow_seconds,
    )


def _existing(path: Path) -> Path:
    """Return the folder, or its nearest existing parent."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
