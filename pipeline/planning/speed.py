"""Measure how fast this machine does each part of `extract`, in seconds, on the parts themselves."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from encoders.two_stream import StreamEncoder
from pipeline.cluster.cores import usable_cores
from pipeline.errors import PipelineError
from pipeline.extraction.config import Decoding, Retries
from pipeline.extraction.encode import Rows, encode_videos
from pipeline.extraction.encoders import AnyEncoder, audio_settings, flow_settings
from pipeline.extraction.publisher import Publisher
from pipeline.extraction.video_status import video_status_of
from pipeline.snippets import SnippetPlan
from pipeline.storage.atomic_files import temporary_folder
from pipeline.storage.read_files import sha256_of_file
from pipeline.store.feature_store import FeatureStore, SequenceWriter
from pipeline.store.spec import StoreSpec
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.events import Failed, Restarted, Snippets
from pipeline.video.flow import estimators
from pipeline.video.pool import DecodePool
from pipeline.video.videos import VideoFile

_SPEED_SECONDS = 1.0  # how long the encoder is timed, after one batch to warm up
_MOST_BATCHES = 20
_PUBLISHED = 64  # sequences to publish for the measurement


def flow_speed(decoding: Decoding, encoder: AnyEncoder) -> float:
    """Return flow fields a second of all cores together, from one core on a smooth texture that moves by two pixels."""
    settings = flow_settings(decoding, encoder.device, threads=usable_cores())
    estimate_flow = estimators(settings)()
    height, width = encoder.spec.resized(9, 16)
    rows, columns = np.mgrid[:height, : width + 2] / 16
    texture = 128 + 60 * np.sin(rows + np.sin(columns)) + 60 * np.sin(1.7 * columns - rows)
    wide = np.repeat(texture.astype(np.uint8)[:, :, None], 3, axis=2)
    first, second = np.ascontiguousarray(wide[:, 2:]), np.ascontiguousarray(wide[:, :-2])
    estimate_flow(first, second)
    start = time.perf_counter()
    estimate_flow(first, second)
    return settings.threads / (time.perf_counter() - start)


def encoder_speed(encoder: AnyEncoder, plan: SnippetPlan) -> float:
    """Return snippets a second of the encoder alone, on noise, after a batch to warm up.

    Args:
        plan: how long its windows are.
    """
    random = np.random.default_rng(0)
    one = encoder.snippet_shape if isinstance(encoder, StreamEncoder) else encoder.spec.snippet_shape
    shape = (encoder.batch_size, *one)
    noise = [torch.from_numpy(random.integers(0, 256, shape, dtype=np.uint8))]
    if (audio := audio_settings(encoder)) is not None:
        samples = random.integers(-1000, 1000, (encoder.batch_size, audio.samples(plan)), dtype=np.int16)
        noise.append(torch.from_numpy(samples))
    encoder.encode(*noise)
    batches, start = 0, time.perf_counter()
    while batches < _MOST_BATCHES and (batches < 2 or time.perf_counter() - start < _SPEED_SECONDS):
        encoder.encode(*noise)
        batches += 1
    return batches * encoder.batch_size / (time.perf_counter() - start)


def decode_speed(
    videos: Sequence[VideoFile], encoder: AnyEncoder, plan: SnippetPlan, decoding: Decoding, *, seconds: float
) -> float:
    """Return snippets a second of one decoder process over real videos, opening them included, without flow.

    The clock runs from the first snippet, so without the start of the process, to the last.

    Args:
        videos: decoded one after the other.
        seconds: time limit; the remaining videos are skipped.

    Raises:
        PipelineError: none of the videos can be decoded.
    """
    began = start = last = time.perf_counter()
    first, rows, reasons = 0, 0, []
    plan, audio = replace(plan, flow=False), audio_settings(encoder)
    settings = DecodeSettings(encoder.spec, plan, decoding.decoder, decoding.limits, audio=audio)
    with DecodePool(1, settings) as pool:
        for event in pool.decode(videos):
            if isinstance(event, Snippets):
                last = time.perf_counter()
                rows += len(event.frames)
                if not first:
                    start, first = last, rows
            elif isinstance(event, Restarted):
                rows = first  # decoded in vain
            elif isinstance(event, Failed):
                reasons.append(f"{event.video.id}: {event.kind}: {event.reason}")
            if time.perf_counter() - began > seconds:
                break
    if not first:
        raise PipelineError(f"no video of the sample gave a snippet within {seconds:g} s; {'; '.join(reasons)}")
    return (rows - first) / (last - start) if rows > first else rows / (last - began)


def joint_speed(
    videos: Sequence[VideoFile],
    encoders: Sequence[AnyEncoder],
    plan: SnippetPlan,
    decoding: Decoding,
    *,
    seconds: float,
) -> float:
    """Return snippets a second of decoders, flow and encoder side by side, as `extract` runs them.

    0 if there are too few to tell. The clock runs from the first rows to the last.

    Args:
        videos: those that fail are left out.
        seconds: time limit; the remaining videos are skipped.
    """
    began = start = last = time.perf_counter()
    first = rows = 0
    with closing(encode_videos(videos, encoders, plan, decoding)) as events:
        for event in events:
            if isinstance(event, Rows):
                last = time.perf_counter()
                rows += len(event.features)
                if not first:
                    start, first = last, rows
            if time.perf_counter() - began > seconds:
                break
    return (rows - first) / (last - start) if rows > first else 0.0


def store_seconds(
    spec: StoreSpec, rows: int, videos: Sequence[VideoFile], *, where: Path | None = None
) -> tuple[float, float]:
    """Return the seconds to publish a sequence, as `extract` does it, several at once; and to look a video up.

    Args:
        where: a folder on the file system to measure; a new folder in it is written and removed. Default: the
            system's folder for temporary files.
    """
    features = np.zeros((rows, spec.channels), np.float32)
    with temporary_folder((where or Path(tempfile.gettempdir())) / "plan") as folder:
        store, publisher = FeatureStore.create(folder / "store", spec), Publisher()

        def publish(writer: SequenceWriter) -> bool:
            writer.append(features)
            writer.commit({"duration_seconds": 0.0, "source": {"path": "x" * 1000}})
            return True

        start = time.perf_counter()
        for number in range(_PUBLISHED):
            video = VideoFile(f"{number}", Path(f"{number}"))
            publisher.submit(video, partial(publish, store.writer(video.id)))
        published = sum(1 for _ in publisher.all())
        end = time.perf_counter()
        for video in videos:
            video_status_of(video, store, Retries())
        return (end - start) / published, (time.perf_counter() - end) / len(videos)


def hash_speed(path: Path) -> float:
    """Return bytes a second that one core hashes, with the file in memory."""
    size, start = path.stat().st_size, time.perf_counter()
    sha256_of_file(path)
    begun, start = start, time.perf_counter()
    sha256_of_file(path)
    return size / max(1e-9, min(time.perf_counter() - start, start - begun))


def import_seconds() -> float:
    """Return the seconds that a process takes to load its libraries, with the files in memory."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import pipeline.extraction.encode"], check=True)
    return time.perf_counter() - start
