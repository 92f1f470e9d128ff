"""Decoders on other cores and machines for one encoder; Ray's object store carries the frames, a few chunks ahead."""

from __future__ import annotations

import importlib
import os
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.events import Event, Failed, Restarted, Snippets
from pipeline.video.pool import DecodePool
from pipeline.video.videos import VideoFile

_EVENTS_AHEAD = 8  # of one decoder, waiting for the encoder; up to eight snippets each
_VIDEOS_AT_A_TIME = 2  # so that a decoder does not wait between two videos
_MAX_LOSSES = 3  # decoders that may die over one video
_SECONDS_TO_WAIT = 1.0


class RemoteDecoder:
    """A decoder in plain Python; Ray makes an actor of it."""

    def __init__(self, settings: DecodeSettings, folder: str) -> None:
        os.chdir(folder)
        self._settings = settings

    def decode(self, videos: list[VideoFile]) -> Iterator[Event]:
        """Yield the events of videos, as `DecodePool.decode` does."""
        with DecodePool(1, self._settings) as pool:
            yield from pool.decode(videos)


@dataclass
class _Stream:
    """A decoder at work: its unfinished videos, and the ids of those with rows."""

    actor: Any
    videos: dict[str, VideoFile]
    begun: set[str]


class RemoteDecoders:
    """Takes the place of a `DecodePool`: `count` decoders of one core each, anywhere in the cluster.

    They live as long as the worker that made them. If a decoder dies, another one starts its video again, until three
    decoders have died over it.
    """

    def __init__(self, count: int, settings: DecodeSettings) -> None:
        self._ray = importlib.import_module("ray")
        self._settings = settings
        self._idle = [self._new() for _ in range(count)]

    def decode(self, videos: Iterable[VideoFile]) -> Generator[Event, None, None]:
        """Yield the events of all videos; those of different decoders are mixed."""
        source, waiting = iter(videos), deque[VideoFile]()
        losses: Counter[str] = Counter()
        streams: dict[Any, _Stream] = {}
        try:
            while True:
                self._hand_out(source, waiting, streams)
                if not streams:
                    return
                heard, _ = self._ray.wait(list(streams), num_returns=1, timeout=_SECONDS_TO_WAIT)
                for events in heard:
                    yield from self._hear(events, streams, waiting, losses)
        finally:
            for stream in streams.values():  # their results are no longer needed
                self._ray.kill(stream.actor)
                self._idle.append(self._new())

    def _new(self) -> Any:
        options = {"num_cpus": 1, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        return self._ray.remote(RemoteDecoder).options(**options).remote(self._settings, str(Path.cwd()))

    def _hand_out(self, source: Iterator[VideoFile], waiting: deque[VideoFile], streams: dict[Any, _Stream]) -> None:
        while self._idle:
            lot = [waiting.popleft()] if waiting else []  # a video that killed a decoder runs alone
            while not waiting and len(lot) < _VIDEOS_AT_A_TIME and (video := next(source, None)) is not None:
                lot.append(video)
            if not lot:
                return
            actor = self._idle.pop()
            how = {"num_returns": "streaming", "_generator_backpressure_num_objects": _EVENTS_AHEAD}
            events = actor.decode.options(**how).remote(lot)
            streams[events] = _Stream(actor, {video.id: video for video in lot}, set())

    def _hear(
        self, events: Any, streams: dict[Any, _Stream], waiting: deque[VideoFile], losses: Counter[str]
    ) -> Iterator[Event]:
        """Yield the next event of a decoder; of one that died, the restarts and failures of its videos."""
        stream = streams[events]
        try:
            event: Event = self._ray.get(next(events))
        except StopIteration:
            del streams[events]
            self._idle.append(stream.actor)
            return
        except self._ray.exceptions.RayActorError as error:
            del streams[events]
            self._idle.append(self._new())
            yield from _restarted(stream, waiting, losses, str(error).splitlines()[0])
            return
        if isinstance(event, Snippets):
            stream.begun.add(event.video.id)
        elif isinstance(event, Restarted):
            stream.begun.discard(event.video.id)
        else:
            del stream.videos[event.video.id]
        yield event


def _restarted(
    stream: _Stream, waiting: deque[VideoFile], losses: Counter[str], reason: str
) -> Iterator[Restarted | Failed]:
    """Queue the videos of a dead decoder again, or give them up."""
    for video in stream.videos.values():
        losses[video.id] += 1
        if losses[video.id] >= _MAX_LOSSES:
            yield Failed(video, "crashed", f"{_MAX_LOSSES} decoders died over it")
            continue
        if video.id in stream.begun:
            yield Restarted(video, reason)
        waiting.append(video)
