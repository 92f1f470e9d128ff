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

from encoders.frame_batch import FrameBatch
from encoders.two_stream import StreamEncoder
from pipeline.cluster.cores import usable_cores
from pipeline.extraction.config import Decoding, ExtractConfig
from pipeline.extraction.encoders import AnyEncoder, audio_settings, features_spec, flow_settings, load_streams
from pipeline.snippets import SnippetPlan
from pipeline.store.spec import StoreSpec
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.events import Failed, Finished, LongVideo, Restarted, Snippets
from pipeline.video.fetch import FetchedVideos
from pipeline.video.pool import DecodePool
from pipeline.video.videos import VideoFile

_MAX_FLOW_WORKERS = 4
_BATCHES_UNDER_WAY = 2  # of each encoder


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
    encoder = load_streams(config, encoder_devices(config.device)[0], config.precision, weights_sha256=weights_sha256)
    return encoder, features_spec(config, encoder)


def on_all_devices(encoder: AnyEncoder, config: ExtractConfig) -> list[AnyEncoder]:
    """Return the encoder, and the same one on each further device that `config` names."""
    others = encoder_devices(config.device)[1:]
    sha256 = encoder.weights.sha256
    return [encoder, *(load_streams(config, device, encoder.precision, weights_sha256=sha256) for device in others)]


def encoder_devices(device: str) -> list[str]:
    """Return the devices that the option names; for auto all GPUs, else the processor."""
    if device == "auto" and torch.cuda.device_count() > 1:
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return device.split(",")


def encode_videos(
    videos: Iterable[VideoFile],
    encoders: Sequence[AnyEncoder],
    plan: SnippetPlan,
    decoding: Decoding,
    *,
    cores: int | None = None,
    on_pictures: Callable[[int], None] = lambda count: None,
) -> Generator[Event, None, None]:
    """Decode `videos` in other processes and encode their snippets, in batches across videos, on all devices.

    Args:
        videos: taken one by one, as workers become free.
        encoders: from `on_all_devices`.
        plan: how videos are cut into snippets.
        decoding: with one worker, videos come one after the other; with more, their events are mixed.
        cores: processor cores for flow; None: all.
        on_pictures: called now and then with the number of flow fields made since the last call.

    Yields:
        For each video its rows in order, then Finished; or Failed, at any point. Restarted voids the earlier rows of
        its video; they come again.
    """
    workers, flow = decoding.workers, None
    if plan.flow:
        videos, workers, threads = flow_shares(videos, workers, cores)
        flow = flow_settings(decoding, encoders[0].device, threads=threads)
    settings = DecodeSettings(
        encoders[0].spec, plan, decoding.decoder, decoding.limits, flow, audio_settings(encoders[0])
    )
    pool = DecodePool(workers, settings, on_pictures=on_pictures)
    with FetchedVideos(videos) as source, pool:
        yield from encode_events(source.watch(pool.decode(source)), encoders)


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

    Each encoder has a thread. Two batches are under way for each, so that one is gathered and sent while the other is
    computed. Batches go to the encoders in turn; rows come back in the order of the snippets.
    """
    with ExitStack() as cleanup:
        pools = [ThreadPoolExecutor(1) for _ in encoders]
        for pool in pools:  # on success there is nothing to wait for; on an error there is no reason to wait
            cleanup.callback(pool.shutdown, wait=False, cancel_futures=True)
        turn = itertools.cycle(zip(encoders, pools, strict=True))
        in_flight: deque[tuple[list[Decoded], Future[Callable[[], torch.Tensor]] | None]] = deque()
        for batch in _batches(events, encoders[0]):
            snippets = [event for event in batch if isinstance(event, Snippets)]
            if snippets:
                encoder, pool = next(turn)
                in_flight.append((batch, pool.submit(_begin, encoder, snippets)))
            else:
                in_flight.append((batch, None))
            while len(in_flight) > _BATCHES_UNDER_WAY * len(encoders) or (in_flight and in_flight[0][1] is None):
                yield from _with_rows(*in_flight.popleft())
        while in_flight:
            yield from _with_rows(*in_flight.popleft())


def _batches(events: Iterator[Decoded], encoder: AnyEncoder) -> Iterator[list[Decoded]]:
    """Group events, in order, into one batch of snippets each; the last has fewer, groups of other events have none."""
    batch: list[Decoded] = []
    room = encoder.batch_size
    for event in events:
        while isinstance(event, Snippets) and len(event) >= room:
            batch.append(event.rows(0, room))
            event = event.rows(room, len(event))
            yield batch
            batch, room = [], encoder.batch_size
        if isinstance(event, Snippets):
            room -= len(event)
        if not isinstance(event, Snippets) or len(event):
            batch.append(event)
        if not any(isinstance(waiting, Snippets) for waiting in batch):  # nothing to wait for
            yield batch
            batch = []
    yield batch


def _begin(encoder: AnyEncoder, snippets: Sequence[Snippets]) -> Callable[[], torch.Tensor]:
    """Gather and queue one batch: in the encoder's thread, so that the decoders are heard meanwhile."""
    pictures = shared_frames(snippets) if encoder.device.type == "cuda" else _whole(snippets)
    if snippets[0].audio is None:
        return encoder.begin(pictures)
    assert isinstance(encoder, StreamEncoder), "only its settings ask for audio"
    samples = [event.audio for event in snippets if event.audio is not None]
    return encoder.begin(pictures, torch.from_numpy(np.concatenate(samples)))


def _whole(snippets: Sequence[Snippets]) -> torch.Tensor:
    """Return the snippets as one batch, uint8 [B, F, H, W, 3]."""
    shape = sum(map(len, snippets)), snippets[0].ordinals.shape[1], *snippets[0].pictures.shape[1:]
    batch, at = np.empty(shape, np.uint8), 0
    for event in snippets:
        np.take(event.pictures, event.places, axis=0, out=batch[at : at + len(event)], mode="clip")
        at += len(event)
    return torch.from_numpy(batch)


def shared_frames(snippets: Sequence[Snippets]) -> FrameBatch:
    """Return the snippets with each frame once, in pinned memory if there is a GPU: it reads that without a copy."""
    known: dict[int, dict[int, int]] = {}  # of each video: the place of each frame by its ordinal
    taken: list[tuple[Snippets, list[int]]] = []
    places: list[list[int]] = []
    count = 0
    for event in snippets:
        # Parts of one video, as other machines decode them, count their frames apart.
        of_video = known.setdefault(id(event.video), {})
        new = [ordinal for ordinal in np.unique(event.ordinals).tolist() if ordinal not in of_video]
        of_video.update(zip(new, range(count, count + len(new)), strict=True))
        count += len(new)
        taken.append((event, new))
        places += [[of_video[ordinal] for ordinal in row] for row in event.ordinals.tolist()]
    shape = count, *snippets[0].pictures.shape[1:]
    frames, at = torch.empty(shape, dtype=torch.uint8, pin_memory=torch.cuda.is_available()), 0
    for event, new in taken:
        out = frames.numpy()[at : at + len(new)]
        np.take(event.pictures, np.searchsorted(event.held, new), axis=0, out=out, mode="clip")
        at += len(new)
    return FrameBatch(frames, torch.tensor(places))


def _with_rows(batch: list[Decoded], features: Future[Callable[[], torch.Tensor]] | None) -> Iterator[Event]:
    rows = features.result()().numpy() if features is not None else np.empty((0, 0), np.float32)
    start = 0
    for event in batch:
        if isinstance(event, Snippets):
            yield Rows(event.video, rows[start : start + len(event)])
            start += len(event)
        else:
            yield event
