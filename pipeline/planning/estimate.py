"""Estimate what a run of `extract` would do and how long it would take; nothing is written."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np

from pipeline.errors import PipelineError, StorageError
from pipeline.extraction.config import Decoding, ExtractConfig
from pipeline.extraction.encode import open_encoder
from pipeline.extraction.encoders import AnyEncoder
from pipeline.extraction.video_status import VideoStatus, video_status_of
from pipeline.planning.speed import encoder_speed, flow_speed
from pipeline.progress import Report, silent
from pipeline.storage.local import temporary_copy
from pipeline.storage.location import AnyPath
from pipeline.storage.stamps import size_of
from pipeline.store.feature_store import FeatureStore
from pipeline.store.spec import StoreSpec
from pipeline.text.plain import counted
from pipeline.video.errors import VideoError
from pipeline.video.find import find_videos
from pipeline.video.frame_folder import probe_frames
from pipeline.video.metadata import VideoInfo, probe
from pipeline.video.videos import VideoFile, VideoList

_PROBE_SECONDS = 60.0
_BYTES_BESIDE_ROWS = 128 + 3 * 1024  # the array's header, and about the size of a sidecar


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What `extract` would do.

    Args:
        done: ids of the finished videos.
        failed: id → "kind: reason" of the videos that failed earlier and are skipped.
        to_do: ids of the videos to encode, in order.
        changed: how many of these were finished before, but their files have changed since.
        probed: how many of the videos to do were probed for their duration.
        unusable: id → reason of the probed videos that will fail; the estimate assumes the same share of the others.
        video_seconds: of the videos to do.
        snippets: of the videos to do.
        margin: of seconds and snippets, relative: with 95% confidence they are within ± this share. 0: all
            were probed; infinite: only one of several was.
        snippets_per_second: of the encoder alone.
        flow_fields: of all snippets, counting each pair of frames once; 0 without flow.
        flow_fields_per_second: of all cores together.
        megabytes: size of the features, in 10^6 bytes.
        sizes: bytes of each video to do.
        sampled: the probed videos.
        longest: snippets of the longest probed video.
    """

    done: tuple[str, ...]
    failed: dict[str, str]
    to_do: tuple[str, ...]
    changed: int
    probed: int
    unusable: dict[str, str]
    video_seconds: float
    snippets: float
    margin: float
    snippets_per_second: float
    megabytes: float
    flow_fields: float = 0.0
    flow_fields_per_second: float = math.inf
    sizes: tuple[int, ...] = field(default=(), repr=False)
    sampled: tuple[VideoFile, ...] = ()
    longest: float = 0.0

    @property
    def encode_seconds(self) -> float:
        """Return the encoder's seconds: the whole time, if decoding keeps up and there is no flow."""
        return self.snippets / self.snippets_per_second

    @property
    def flow_seconds(self) -> float:
        """Return the seconds that the flow takes on all cores."""
        return self.flow_fields / self.flow_fields_per_second

    def lines(self) -> list[str]:
        """Return the estimate as text: one line for each failed video and each video to do, then the sums."""
        listed = [f"failed: {video_id}: {reason}" for video_id, reason in sorted(self.failed.items())]
        listed += [f"would fail: {video_id}: {reason}" for video_id, reason in sorted(self.unusable.items())]
        listed += [f"to do: {video_id}" for video_id in self.to_do]
        again = f" ({self.changed} again, their files have changed)" if self.changed else ""
        to_do = counted(len(self.to_do), "video")
        counts = f"{to_do} to do{again}, {len(self.done)} are done, {len(self.failed)} failed earlier"
        if not self.to_do:
            return [*listed, counts]
        how = "all of them" if self.probed == len(self.to_do) else f"from {self.probed} of them"
        within = f" ± {self.margin:.0%}" if math.isfinite(self.margin) else " ± unknown"
        flow = (
            f"{self.flow_fields:.0f} flow fields, {self.flow_fields_per_second:.1f} a second on all cores: "
            f"{_clock(self.flow_seconds)}{within} more"
        )
        return [
            *listed,
            counts,
            f"{self.video_seconds / 3600:.2f} h of video, {self.snippets:.0f} snippets{within} ({how}), "
            f"{self.megabytes:.1f} MB of features",
            f"{self.snippets_per_second:.1f} snippets/s: {_clock(self.encode_seconds)}{within}, "
            "as long as decoding keeps up",
            *([flow] if self.flow_fields else []),
        ]


def estimate(
    inputs: Sequence[AnyPath], out: AnyPath | None, config: ExtractConfig, *, sample: int = 8, report: Report = silent
) -> Estimate:
    """Estimate what `extract(inputs, out, config)` would do.

    Seconds and snippets are extrapolated by bytes from a random sample (the same each time) of the videos to do:
    a ratio estimate with the margin of its standard error.

    Args:
        inputs: video files, folders (searched recursively), text files of paths.
        out: the feature store; if None or absent, all videos are to do.
        config: of `extract`.
        sample: number of videos to probe for their duration.
        report: called with the share of the videos compared with the store, 0 to 1.

    Raises:
        PipelineError, EncoderError: `extract` would fail as well (no videos, no weights, another store, …).

    Source: W. G. Cochran, Sampling Techniques, 3rd ed., 1977, chapter 6 (ratio estimator and its variance).
    """
    if sample < 1:
        raise PipelineError(f"sample must be >= 1, got {sample}")
    videos = find_videos(inputs, ids=config.ids, frame_rate=config.frame_rate)
    encoder, spec = open_encoder(config)
    compared = compare(videos, out, spec, config, report=report)
    return estimate_of(compared, encoder, spec, config.decoding, sample=sample)


@dataclass
class Compared:
    """Videos compared with a store: those that are done, that have failed, and that are to do, with their bytes."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    to_do: list[VideoFile] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    changed: int = 0


def compare(
    videos: VideoList, out: AnyPath | None, spec: StoreSpec, config: ExtractConfig, *, report: Report = silent
) -> Compared:
    """Compare the videos of the shard with the store `out`, if there is one."""
    store = _store(out, spec)
    found = Compared()
    for number, video in enumerate(videos, start=1):
        if not config.is_mine(video.id):
            continue
        status = video_status_of(video, store, config.retries) if store else VideoStatus("new")
        if status.to_do:
            found.to_do.append(video)
            found.sizes.append(size_of(video.path))
            found.changed += status.state == "changed"
        elif status.state == "done":
            found.done.append(video.id)
        else:
            found.failed[video.id] = status.reason
        report(number / len(videos), f"{number}/{len(videos)} videos compared")
    return found


def estimate_of(
    compared: Compared, encoder: AnyEncoder, spec: StoreSpec, decoding: Decoding, *, sample: int
) -> Estimate:
    """Estimate as `estimate` does, for compared videos and the encoder and spec of `open_encoder`."""
    to_do, sizes = compared.to_do, compared.sizes
    chosen = sorted(Random(0).sample(range(len(to_do)), min(sample, len(to_do))))
    probed = [_probe(to_do[i]) for i in chosen]
    infos = [found.info for found in probed]
    seconds = [float(info.duration) if info else 0.0 for info in infos]
    rows = [float(spec.plan.at(info.fps).count(info.duration)) if info else 0.0 for info in infos]
    measured = [sizes[i] for i in chosen]
    snippets, margin = extrapolate(rows, measured, total=sum(sizes), population=len(to_do))
    bytes_a_row = spec.channels * np.dtype(spec.dtype).itemsize
    return Estimate(
        done=tuple(compared.done),
        failed=compared.failed,
        to_do=tuple(video.id for video in to_do),
        changed=compared.changed,
        probed=len(chosen),
        unusable={to_do[i].id: found.problem for i, found in zip(chosen, probed, strict=True) if not found.info},
        video_seconds=extrapolate(seconds, measured, total=sum(sizes), population=len(to_do))[0],
        snippets=snippets,
        margin=margin,
        snippets_per_second=encoder_speed(encoder, spec.plan),
        megabytes=(snippets * bytes_a_row + len(to_do) * _BYTES_BESIDE_ROWS) / 1e6,
        sizes=tuple(sizes),
        sampled=tuple(to_do[i] for i in chosen),
        longest=max(rows, default=0.0),
        **_flow(decoding, encoder, spec, snippets),
    )


def _flow(decoding: Decoding, encoder: AnyEncoder, spec: StoreSpec, snippets: float) -> dict[str, float]:
    if not spec.plan.flow:
        return {}
    # Different snippets share the field of a grid cell that they have in common: within a stride none repeats.
    fields = len({cell % spec.plan.stride_frames for cell in spec.plan.cells}) * snippets
    return {"flow_fields": fields, "flow_fields_per_second": flow_speed(decoding, encoder)}


def extrapolate(
    values: Sequence[float], sizes: Sequence[float], *, total: float, population: int
) -> tuple[float, float]:
    """Estimate the sum of a quantity over a population from a sample, by its ratio to a size known for all members.

    Args:
        values: of the sample, [n].
        sizes: of the sample, [n].
        total: sum of the sizes of the whole population.
        population: number of its members, N >= n.

    Returns:
        The sum, and half the width of its 95% interval as a share of it (0 when n = N, infinite when n = 1 < N).

    Source: Cochran, Sampling Techniques, 3rd ed., chapter 6 (ratio estimate, its variance, and the variance with the
        ratio of the means); the quantile of Student's t by Abramowitz and Stegun, Handbook of Mathematical Functions,
        26.7.5.
    """
    n = len(values)
    if n == population:
        return math.fsum(values), 0.0
    if sum(sizes) == 0 or sum(values) == 0:  # nothing to extrapolate by, or from
        return 0.0, math.inf
    ratio = sum(values) / sum(sizes)
    if n == 1:
        return ratio * total, math.inf
    residual = sum((value - ratio * size) ** 2 for value, size in zip(values, sizes, strict=True)) / (n - 1)
    # A sample of the smaller members underestimates the spread: hence the ratio of the mean sizes.
    smaller = (total / population) / (sum(sizes) / n)
    error = population * smaller * math.sqrt((1 - n / population) * residual / n)
    return ratio * total, _student_t(n - 1) * error / (ratio * total)


def _store(out: AnyPath | None, spec: StoreSpec) -> FeatureStore | None:
    if out is None or not (out / "store.json").exists():
        return None
    store = FeatureStore.open(out)
    store.refuse_other(spec)
    return store


@dataclass(frozen=True)
class _Probed:
    """A probed video: its metadata, or None and the reason why it will fail."""

    info: VideoInfo | None
    problem: str = ""


def _probe(video: VideoFile) -> _Probed:
    deadline = time.monotonic() + _PROBE_SECONDS

    def give_up_late() -> None:
        if time.monotonic() > deadline:
            raise VideoError("timeout", f"looking up its duration took longer than {_PROBE_SECONDS:g} s")

    try:
        if video.frame_rate is not None and isinstance(video.path, Path):
            return _Probed(probe_frames(video.path, video.frame_rate, progress=give_up_late))
        with temporary_copy(video.path) as file:
            return _Probed(probe(file, progress=give_up_late))
    except (VideoError, StorageError) as error:
        return _Probed(None, str(error))


def _student_t(freedom: int) -> float:
    """Return the 0.975 quantile of Student's t; 24% too small for 1 degree of freedom, 3% for 2, right for more."""
    z = 1.959963984540054
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _clock(seconds: float) -> str:
    """Return hours, minutes and seconds: 1:02:03."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
