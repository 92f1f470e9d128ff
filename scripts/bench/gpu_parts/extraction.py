"""The whole `extract` on files, and its bottleneck: decoding, the encoder with its transfers, or the main thread."""

import argparse
import os
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import av
import torch

import pipeline.stages.extract
from encoders.encoder import Encoder
from gpu_parts.footage import copies, videos_for
from gpu_parts.gpu_decoding import run_gpu_decoding
from gpu_parts.rows import Rows
from gpu_parts.sampling import GpuWatch, Sampler
from gpu_parts.timing import seconds_of
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.encode import open_encoder
from pipeline.extraction.encoders import features_spec
from pipeline.snippets import SnippetPlan
from pipeline.stages.extract import extract
from pipeline.store.spec import StoreSpec
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.events import Failed, Finished, Snippets
from pipeline.video.find import find_videos
from pipeline.video.pool import DecodePool

SMALL_HEIGHT = 400  # pixels
MOST_COPIES = 400
TOP_LINES = 6


@dataclass(frozen=True)
class Scene:
    """The videos and options of a measurement; `seconds`: about how long decoding alone may take."""

    encoder: str
    stride_frames: int
    large: bool
    seconds: float


SCENES = (
    Scene("i3d_r50", 16, large=False, seconds=4),
    Scene("i3d_r50", 4, large=False, seconds=1.5),
    Scene("i3d_r50", 16, large=True, seconds=4),
    Scene("tsn_r50", 16, large=False, seconds=3),
    Scene("i3d_inception", 4, large=False, seconds=1),
)


def run(options: argparse.Namespace, rows: Rows) -> None:
    work = Path(os.environ["GPU_BENCH_WORK"]) / "extract"
    videos = videos_for(options, work / "made")
    by_size: dict[bool, list[Path]] = {False: [], True: []}
    for video in videos:
        by_size[_height(video) > SMALL_HEIGHT].append(video)
    if options.quick:
        by_size[False] = sorted(by_size[False], key=_frames)[:1]
    for number, scene in enumerate(SCENES[:1] if options.quick else SCENES):
        chosen = by_size[scene.large]
        name = f"{scene.encoder}, stride {scene.stride_frames}, {'large' if scene.large else 'small'} videos"
        if not chosen:
            rows.failed(name, "no videos of this size")
            continue
        try:
            _measure(name, scene, chosen, work / str(number), options, rows)
        except Exception as error:  # the other scenes must still run
            rows.failed(name, error)
    run_gpu_decoding(videos, options, rows)


def _measure(
    name: str, scene: Scene, videos: list[Path], folder: Path, options: argparse.Namespace, rows: Rows
) -> None:
    config = ExtractConfig(
        encoder=scene.encoder,
        weights="random",
        device=options.device,
        stride_frames=scene.stride_frames,
        batch_size=1 if options.quick else None,
    )
    encoder, spec = _opened(config)
    seconds, _, _ = decode_alone(videos, encoder, spec.plan)
    cores = len(os.sched_getaffinity(0))
    times = 1 if options.quick else max(cores // 2, min(MOST_COPIES, round(scene.seconds * cores / 2 / seconds)))
    paths = copies(videos, folder / "videos", times)
    seconds, snippets, frames = decode_alone(paths, encoder, spec.plan)
    decoding = snippets / seconds
    batch = torch.randint(0, 256, (encoder.batch_size, *encoder.spec.snippet_shape), dtype=torch.uint8)
    encoding = encoder.batch_size / seconds_of(
        lambda: encoder.encode(batch),
        encoder.device,
        **({"least": 1, "budget": 0, "warm_up": 0} if options.quick else {}),
    )
    pipeline.stages.extract.open_encoder = lambda config: (encoder, spec)  # the measurement excludes loading it
    used, began = _processor_seconds(), time.perf_counter()
    with Sampler() as sampler, GpuWatch() as gpu:
        _, summary = extract([folder / "videos"], folder / "store", config)
        wall = time.perf_counter() - began
    if summary.failed:
        raise RuntimeError(f"{len(summary.failed)} videos failed: {next(iter(summary.failed.values()))}")
    whole = summary.snippets / wall
    own, children = (after - before for after, before in zip(_processor_seconds(), used, strict=True))
    slowest = "decoding" if decoding < encoding else "encoding with transfers"
    rows.add(
        name,
        snippets=summary.snippets,
        snippets_a_second=whole,
        frames_a_second=frames / wall,
        decoding_alone=decoding,
        encoding_alone=encoding,
        of_the_slower=whole / min(decoding, encoding),
        limit=slowest if whole > 0.8 * min(decoding, encoding) else f"main thread, beside {slowest}",
        cores_of_decoders=children / wall,
        cores_of_main=own / wall,
        gpu_percent=gpu.percent if encoder.device.type == "cuda" else None,
        seconds=wall,
    )
    for line, share in sampler.shares(TOP_LINES):
        rows.add(f"{name}: main thread at {line}", share=share)


_encoders: dict[str, Encoder] = {}


def _opened(config: ExtractConfig) -> tuple[Encoder, StoreSpec]:
    """Return the encoder of `config`, loaded once, and the spec of its features."""
    if config.encoder not in _encoders:
        encoder, _ = open_encoder(config)
        assert isinstance(encoder, Encoder)
        _encoders[config.encoder] = encoder
    return _encoders[config.encoder], features_spec(config, _encoders[config.encoder])


def decode_alone(paths: Iterable[Path], encoder: Encoder, plan: SnippetPlan) -> tuple[float, int, int]:
    """Decode only; return the seconds from the first snippets on, the snippets, and the decoded frames."""
    snippets = frames = 0
    began = None
    with DecodePool(None, DecodeSettings(encoder.spec, plan)) as pool:
        for event in pool.decode(find_videos(list(paths))):
            began = began or time.perf_counter()
            if isinstance(event, Snippets):
                snippets += len(event)
            elif isinstance(event, Finished):
                frames += event.report.decoded_frames
            elif isinstance(event, Failed):
                raise RuntimeError(f"{event.video.path}: {event.kind}: {event.reason}")
    return time.perf_counter() - (began or 0.0), snippets, frames


def _processor_seconds() -> tuple[float, float]:
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    own, children = (use.ru_utime + use.ru_stime for use in uses)
    return own, children


def _height(path: Path) -> int:
    with av.open(str(path)) as container:
        return container.streams.video[0].height


def _frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return container.streams.video[0].frames
