"""Batches of snippets on one or several encoders: rows come back in order, other events keep their place."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.extraction.encode import Rows, encode_events, shared_frames
from pipeline.video.events import Failed, Snippets
from pipeline.video.videos import VideoFile

A, B = VideoFile("a", Path("a.mp4")), VideoFile("b", Path("b.mp4"))


class Counting:
    """An encoder whose feature of a snippet is its number; notes batch sizes and threads."""

    def __init__(self, batch_size: int, seconds: float = 0.0) -> None:
        self.batch_size, self.seconds = batch_size, seconds
        self.device = torch.device("cpu")
        self.batches: list[int] = []
        self.threads: set[int] = set()

    def encode(self, snippets: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds)
        self.batches.append(len(snippets))
        self.threads.add(threading.get_ident())
        return snippets.reshape(-1, 1).float()

    def begin(self, snippets: torch.Tensor) -> Callable[[], torch.Tensor]:
        features = self.encode(snippets)
        return lambda: features


def snippets(video: VideoFile, first: int, count: int) -> Snippets:
    numbers = np.arange(first, first + count)
    return Snippets(video, first, numbers[:, None], numbers, numbers.astype(np.uint8).reshape(-1, 1, 1, 1))


EVENTS = [
    Failed(B, "crashed", "at once"),
    snippets(A, 0, 3),
    snippets(B, 0, 7),
    Failed(B, "crashed", "later"),
    snippets(A, 3, 4),
    Failed(A, "crashed", "at the end"),
]


@pytest.mark.parametrize("batch_size", [1, 2, 4, 5, 100])
@pytest.mark.parametrize("devices", [1, 2, 3])
def test_rows_come_in_order_and_other_events_keep_their_place(batch_size, devices):
    # The first encoder is the slowest: later batches of the others are done before its earlier ones.
    encoders = [Counting(batch_size, seconds=0.01 if number == 0 else 0.0) for number in range(devices)]
    seen = {"a": [], "b": []}
    order = []
    for event in encode_events(iter(EVENTS), encoders):
        if isinstance(event, Rows):
            seen[event.video.id] += event.features[:, 0].tolist()
        else:
            order.append((event.reason, len(seen["a"]), len(seen["b"])))
    assert seen == {"a": [0, 1, 2, 3, 4, 5, 6], "b": [0, 1, 2, 3, 4, 5, 6]}
    assert order == [("at once", 0, 0), ("later", 3, 7), ("at the end", 7, 7)]
    sizes = [size for encoder in encoders for size in encoder.batches]
    assert sum(sizes) == 14
    assert sum(size != batch_size for size in sizes) <= 1  # only the last batch is not whole


def test_every_device_takes_its_turn_in_a_thread_of_its_own():
    encoders = [Counting(2), Counting(2)]
    list(encode_events(iter(EVENTS), encoders))
    assert [len(encoder.batches) for encoder in encoders] == [4, 3]
    assert all(len(encoder.threads) == 1 for encoder in encoders)
    assert threading.get_ident() not in encoders[0].threads | encoders[1].threads


def test_batches_ahead_are_bounded():
    taken = []

    def events():
        for number in range(50):
            taken.append(number)
            yield snippets(A, number, 1)

    rows = encode_events(events(), [Counting(1), Counting(1)])
    next(rows)
    assert len(taken) <= 4


def test_an_error_of_an_encoder_reaches_the_caller():
    class Broken(Counting):
        def encode(self, snippets):
            raise RuntimeError("no such kernel")

    with pytest.raises(RuntimeError, match="no such kernel"):
        list(encode_events(iter(EVENTS), [Broken(2)]))


def sliding(video: VideoFile, row: int, *, window: int, stride: int) -> Snippets:
    """Return one snippet of a video whose frame n is the number n."""
    held = row * stride + np.arange(window)
    return Snippets(video, row, held[None], held, held.astype(np.uint8).reshape(-1, 1, 1, 1))


def test_a_frame_that_snippets_share_is_sent_once_in_a_batch():
    rows = [sliding(video, row, window=16, stride=4) for row in range(20) for video in (A, B)]
    batch = shared_frames(rows)
    assert len(batch.frames) == 2 * (19 * 4 + 16)  # of 640 in whole snippets
    assert torch.equal(batch.snippets(), torch.from_numpy(np.concatenate([row.frames for row in rows])))


def test_a_part_of_an_event_sends_its_own_frames_only():
    held = np.arange(40)
    event = Snippets(A, 0, np.arange(8)[:, None] * 4 + np.arange(12), held, held.astype(np.uint8).reshape(-1, 1, 1, 1))
    batch = shared_frames([event.rows(2, 4)])
    assert batch.frames.flatten().tolist() == list(range(8, 24))
    assert torch.equal(batch.snippets(), torch.from_numpy(event.frames[2:4]))


def test_parts_of_one_video_that_count_from_their_own_start_share_nothing():
    one, two = VideoFile("a", A.path), VideoFile("a", A.path)
    assert len(shared_frames([sliding(video, 0, window=4, stride=1) for video in (one, two)]).frames) == 8
