"""Encode videos on the fly: raw videos in, feature rows out, nothing written."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.cluster.cores import usable_cores
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.encoders import AnyEncoder, features_spec, flow_settings, load_streams
from pipeline.snippets import SnippetPlan
from pipeline.store.spec import StoreSpec
from pipeline.video.fetch import FetchedVideos
from pipeline.video.pool import DecodeLimits, DecodePool, Failed, Finished, LongVideo, Restarted, Snippets
from pipeline.video.videos import VideoFile

_MAX_FLOW_WORKERS = 4


@dataclass(frozen=True)
class Rows:
    """The next feature rows of a video.

    Args:
        features: [n, C] float32.
    """

    video: VideoFile
    features: np.ndarray


Event = Rows | Restarted | Finished | Failed | LongVideo


Decoded = Snippets | Restarted | Finished | Failed | LongVideo


def open_encoder(config: ExtractConfig, *, weights_sha256: str | None = None) -> tuple[AnyEncoder, StoreSpec]:
    """Load the frozen encoder that `config` names, on the first of its devices; return it and the spec of its features.

    Args:
        weights_sha256: if given, refuse other weights; for RGB alone.

    Raises:
        EncoderError, PipelineError: no such encoder, no such weights, no such device, a window too short.
    """
    encoder = load_streams(config, encoder_devices(config)[0], config.precision, weights_sha256=weights_sha256)
    return encoder, features_spec(config, encoder)


def encoder_devices(config: ExtractConfig) -> list[str]:
    """Return the devices for encoders: those named in `config`, else all GPUs, else the processor."""
    if config.device == "auto" and torch.cuda.device_count() > 1:
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return config.device.split(",")


def encode_videos(
    videos: Iterable[VideoFile],
    encoder: AnyEncoder,
    plan: SnippetPlan,
    config: ExtractConfig,
    *,
    in_order: bool = False,
    cores: int | None = None,
    decode: Callable[[Iterable[VideoFile]], Iterator[Decoded]] | None = None,
    on_pictures: Callable[[int], None] = lambda count: None,
) -> Generator[Event, None, None]:
    """Decode `videos` in other processes and encode their snippets, in batches across videos, on all devices.

    Args:
        videos: taken one by one, as workers become free.
        encoder: from `open_encoder`; loaded again on each further device of `config`.
        plan: how videos are cut into snippets.
        in_order: True: one video after the other; False: several side by side, with their events mixed.
        cores: processor cores for flow; None: all.
        decode: returns the events of decoders elsewhere; None: decode in processes on this machine.
        on_pictures: called now and then with the number of flow fields made since the last call.

    Yields:
        For each video its rows in order, then Finished; or Failed, at any point. Restarted voids the earlier rows of
        its video; they come again.
    """
    others = [
        load_streams(config, device, encoder.precision, weights_sha256=encoder.weights.sha256)
        for device in encoder_devices(config)[1:]
    ]
    if decode is not None:
        yield from encode_events(decode(videos), [encoder, *others])
        return
    workers, flow = 1 if in_order else config.workers, None
    if plan.flow:
        videos, workers, threads = flow_shares(videos, workers, cores)
        flow = flow_settings(config, encoder.device, threads=threads)
    pool = DecodePool(
        workers,
        encoder.spec,
        plan,
        decoder=config.decoder,
        limits=decode_limits(config),
        flow=flow,
        on_pictures=on_pictures,
    )
    with FetchedVideos(videos) as source, pool:
        yield from encode_events(source.watch(pool.decode(source)), [encoder, *others])


def decode_limits(config: ExtractConfig) -> DecodeLimits:
    """Return the limits under which `config` gives a video up."""
    return DecodeLimits(timeout_seconds=config.timeout_seconds, max_corrupt=config.max_corrupt)


def flow_shares(
    videos: Iterable[VideoFile], workers: int | None, cores: int | None = None
) -> tuple[Iterable[VideoFile], int, int]:
    """Share the cores between videos with flow; return the videos, the number of processes, and the threads of each.

    Flow costs far more than decoding, so a few processes are enough: one works while another starts or ends a video.
    A single video gets all cores.

    Args:
        workers: number of processes; None: one for each video, up to four.
        cores: processor cores; None: all.
    """
    cores, rest = cores or usable_cores(), iter(videos)
    first = list(itertools.islice(rest, min(_MAX_FLOW_WORKERS, cores)))
    processes = workers or max(1, len(first))
    return itertools.chain(first, rest), processes, max(1, cores // processes)


def encode_events(events: Iterator[Decoded], encoders: Sequence[AnyEncoder]) -> Iterator[Event]:
    """Replace the snippets among a decoder's events by feature rows; all events keep their order.

    Each encoder has a thread, so the next batch is gathered while it works. Batches go to the encoders in turn; rows
    come back in the order of the snippets.
    """
    with ExitStack() as cleanup:
        pools = [ThreadPoolExecutor(1) for _ in encoders]
        for pool in pools:  # on success there is nothing to wait for; on an error there is no reason to wait
            cleanup.callback(pool.shutdown, wait=False, cancel_futures=True)
        turn = itertools.cycle(zip(encoders, pools, strict=True))
        in_flight: deque[tuple[list[Decoded], Future[Callable[[], torch.Tensor]] | None]] = deque()
        for batch in _batches(events, encoders[0]):
            snippets = [event.frames for event in batch if isinstance(event, Snippets)]
            if snippets:
                encoder, pool = next(turn)
                in_flight.append((batch, pool.submit(encoder.begin, _gathered(snippets, encoder.device))))
            else:
                in_flight.append((batch, None))
            while len(in_flight) > len(encoders) or (in_flight and in_flight[0][1] is None):
                yield from _with_rows(*in_flight.popleft())
        while in_flight:
            yield from _with_rows(*in_flight.popleft())


def _batches(events: Iterator[Decoded], encoder: AnyEncoder) -> Iterator[list[Decoded]]:
    """Group events, in order, into one batch of snippets each; the last has fewer, groups of other events have none."""
    batch: list[Decoded] = []
    room = encoder.batch_size
    for event in events:
        while isinstance(event, Snippets) and len(event.frames) >= room:
            batch.append(Snippets(event.video, event.first_row, event.frames[:room]))
            event = Snippets(event.video, event.first_row + room, event.frames[room:])
            yield batch
            batch, room = [], encoder.batch_size
        if isinstance(event, Snippets):
            room -= len(event.frames)
        if not isinstance(event, Snippets) or len(event.frames):
            batch.append(event)
        if not any(isinstance(waiting, Snippets) for waiting in batch):  # nothing to wait for
            yield batch
            batch = []
    yield batch


def _gathered(snippets: list[np.ndarray], device: torch.device) -> torch.Tensor:
    """Return one batch, uint8; for a GPU in pinned memory, which it reads without another copy."""
    shape = (sum(map(len, snippets)), *snippets[0].shape[1:])
    batch = torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    np.concatenate(snippets, out=batch.numpy())
    return batch


def _with_rows(batch: list[Decoded], features: Future[Callable[[], torch.Tensor]] | None) -> Iterator[Event]:
    rows = features.result()().numpy() if features is not None else np.empty((0, 0), np.float32)
    start = 0
    for event in batch:
        if isinstance(event, Snippets):
            yield Rows(event.video, rows[start : start + len(event.frames)])
            start += len(event.frames)
        else:
            yield event
