"""Encodes videos on the fly: raw videos in, feature rows out, nothing written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from encoders.encoder import Encoder, load_encoder
from pipeline.config import ExtractConfig
from pipeline.snippets import SnippetPlan
from pipeline.spec import StoreSpec
from pipeline.video.find import VideoFile
from pipeline.video.pool import DecodeLimits, DecodePool, Failed, Finished, Restarted, Snippets


@dataclass(frozen=True)
class Rows:
    """The next feature rows of a video.

    Args:
        video: whose rows.
        features: [n, C] float32.
    """

    video: VideoFile
    features: np.ndarray


Event = Rows | Restarted | Finished | Failed


def open_encoder(config: ExtractConfig, *, weights_sha256: str | None = None) -> tuple[Encoder, StoreSpec]:
    """The frozen encoder that ``config`` names, and the spec of the features that it makes.

    Args:
        weights_sha256: when given, other weights are refused.

    Raises:
        EncoderError, PipelineError: no such encoder, no such weights, no such device, a window too short.
    """
    encoder = load_encoder(
        config.encoder,
        weights=config.weights,
        seed=config.seed,
        device=config.device,
        precision=config.precision,
        batch_size=config.batch_size,
        weights_sha256=weights_sha256,
        compile=config.compile,
    )
    weights = encoder.weights
    spec = StoreSpec(
        channels=encoder.spec.feature_dim,
        dtype=config.dtype,
        plan=config.plan(encoder.spec),
        encoder=encoder.spec.as_dict(),
        weights={
            "name": weights.name,
            "sha256": weights.sha256,
            "random": weights.random,
            "seed": weights.seed if weights.random else None,
        },
        precision=encoder.precision,
        decoder=config.decoder,
    )
    return encoder, spec


def encode_videos(
    videos: Iterable[VideoFile], encoder: Encoder, plan: SnippetPlan, config: ExtractConfig, *, in_order: bool = False
) -> Iterator[Event]:
    """Decodes ``videos`` in other processes and encodes their snippets, batched across videos.

    Args:
        videos: taken one by one, as workers become free.
        plan: how videos are cut into snippets.
        in_order: True: one video after the other; False: several side by side, their events mixed.

    Yields:
        For each video its rows in order, then Finished; or Failed, at any point. After Restarted the rows of the
        video that came before are void, and come again.
    """
    limits = DecodeLimits(timeout_seconds=config.timeout_seconds, max_corrupt=config.max_corrupt)
    workers = 1 if in_order else config.workers
    with DecodePool(workers, encoder.spec, plan, decoder=config.decoder, limits=limits) as pool:
        yield from _encode(pool.decode(videos), encoder)


def _encode(events: Iterator[Snippets | Restarted | Finished | Failed], encoder: Encoder) -> Iterator[Event]:
    """Gathers snippets to whole batches; every other event waits for the rows that came before it."""
    queue: deque[Snippets | Restarted | Finished | Failed] = deque()
    waiting = 0
    for event in events:
        queue.append(event)
        waiting += len(event.frames) if isinstance(event, Snippets) else 0
        while waiting >= encoder.batch_size:
            yield from _encode_batch(queue, encoder)
            waiting -= encoder.batch_size
        while queue and not isinstance(event := queue[0], Snippets):
            queue.popleft()
            yield event
    while queue:
        yield from _encode_batch(queue, encoder)


def _encode_batch(queue: deque[Snippets | Restarted | Finished | Failed], encoder: Encoder) -> Iterator[Event]:
    """Takes up to one batch of snippets, and what stands between them, from the front of the queue."""
    taken: list[Snippets | Restarted | Finished | Failed] = []
    room = encoder.batch_size
    while queue and room:
        event = queue.popleft()
        if isinstance(event, Snippets):
            if len(event.frames) > room:
                rest = Snippets(event.video, event.first_row + room, event.frames[room:])
                event = Snippets(event.video, event.first_row, event.frames[:room])
                queue.appendleft(rest)
            room -= len(event.frames)
        taken.append(event)
    snippets = [event.frames for event in taken if isinstance(event, Snippets)]
    if snippets:
        features = encoder.encode(torch.from_numpy(np.concatenate(snippets))).numpy()
    start = 0
    for event in taken:
        if isinstance(event, Snippets):
            yield Rows(event.video, features[start : start + len(event.frames)])
            start += len(event.frames)
        else:
            yield event
