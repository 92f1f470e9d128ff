"""Snippets that share frames: the same features as from whole snippets, also in parts and padded."""

import torch

from encoders.catalog import catalog_entry
from encoders.encoder import load_encoder
from encoders.frame_batch import FrameBatch
from encoders.two_stream import StreamEncoder
from tests.encoders.test_streams import load


def sliding(rows: int, frames: int, stride: int, size: int = 8) -> FrameBatch:
    """Return `rows` snippets of `frames` frames, `stride` apart."""
    places = torch.arange(rows)[:, None] * stride + torch.arange(frames)
    pictures = torch.randint(0, 256, (int(places.max()) + 1, size, size, 3), dtype=torch.uint8)
    return FrameBatch(pictures, places)


def test_a_part_and_padding_show_the_same_snippets():
    batch = sliding(rows=5, frames=4, stride=1)
    whole = batch.snippets()
    assert batch.shape == tuple(whole.shape) == (5, 4, 8, 8, 3)
    assert torch.equal(whole[2, 1], batch.frames[3])
    part = batch.part(1, 4)
    assert torch.equal(part.snippets(), whole[1:4])
    assert len(part.frames) == 6  # of 12 that three whole snippets have
    assert torch.equal(part.padded(7).snippets()[:3], whole[1:4])
    assert len(part.padded(7)) == 7


def test_features_are_those_of_whole_snippets_in_batches_of_any_size():
    encoder = load_encoder("tsn_r18", weights="random", device="cpu", precision="fp32", batch_size=2)
    size = catalog_entry("tsn_r18").spec.crop_size
    batch = sliding(rows=5, frames=3, stride=1, size=size)
    assert torch.equal(encoder.encode(batch), encoder.encode(batch.snippets()))


def test_streams_share_the_pictures_that_hold_both():
    rgb, flow = load("tsn_r18"), load("tsn_r50_flow")
    streams = StreamEncoder({"rgb": rgb, "flow": flow})
    shape = streams.snippet_shape
    frames = torch.randint(0, 256, (shape[0] + 2, *shape[1:]), dtype=torch.uint8)
    batch = FrameBatch(frames, torch.arange(3)[:, None] + torch.arange(shape[0]))
    assert torch.equal(streams.encode(batch), streams.encode(batch.snippets()))
