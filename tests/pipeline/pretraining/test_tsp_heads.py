"""The heads and losses of TSP, and what the global video feature does."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.errors import PipelineError
from pipeline.pretraining.global_feature import pooled, stored_features, whole_windows
from pipeline.pretraining.tsp_heads import ACTION, NO_ACTION, UNLABELED, TspHeads, action_loss, region_loss


def heads(channels: int = 4, classes: int = 3, *, with_global: bool = True) -> TspHeads:
    torch.manual_seed(0)
    return TspHeads(channels, classes, global_channels=channels if with_global else 0, with_region=True)


def test_heads_start_small_and_unbiased():
    torch.manual_seed(0)
    made = TspHeads(500, 100, global_channels=500, with_region=True)
    assert tuple(made.region.weight.shape) == (2, 1000)
    assert made.action.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not made.action.bias.any()
    assert not made.region.bias.any()
    assert TspHeads(4, 3, global_channels=0, with_region=False).region is None


def test_another_global_feature_moves_the_region_and_leaves_the_action_bit_equal():
    made, features = heads(), torch.randn(5, 4)
    first_action, first_region = made(features, torch.zeros(5, 4))
    action, region = made(features, torch.ones(5, 4))
    assert torch.equal(action, first_action)
    assert not torch.isclose(region, first_region).any()


def test_the_action_loss_is_the_mean_over_labeled_clips():
    logits, places = torch.randn(6, 3), torch.tensor([0, UNLABELED, 2, UNLABELED, 1, 1])
    kept = places >= 0
    torch.testing.assert_close(action_loss(logits, places, labeled=4), F.cross_entropy(logits[kept], places[kept]))
    # Parts of a step, of which one has no labeled clip, add up to the whole.
    parts = [slice(0, 1), slice(1, 2), slice(2, 6)]
    total = sum(action_loss(logits[part], places[part], labeled=4) for part in parts)
    torch.testing.assert_close(total, action_loss(logits, places, labeled=4))


def test_a_background_clip_gives_the_action_head_no_gradient_and_a_step_of_them_a_finite_loss():
    assert torch.isnan(F.cross_entropy(torch.randn(2, 3), torch.full((2,), UNLABELED), ignore_index=UNLABELED))
    made, features = heads(), torch.randn(2, 4, requires_grad=True)
    action, region = made(features, torch.randn(2, 4))
    loss = action_loss(action, torch.full((2,), UNLABELED), labeled=0)
    assert loss.item() == 0
    (loss + region_loss(region, torch.full((2,), NO_ACTION))).backward()
    assert not made.action.weight.grad.any()
    assert not made.action.bias.grad.any()
    assert made.region.weight.grad.any()
    assert features.grad.any()


def test_pooling_is_over_time_and_ignores_order_and_parts():
    features = torch.randn(9, 5, requires_grad=True)
    expected = torch.from_numpy(features.detach().numpy().max(axis=0))
    for parts in ([features], [features[:4], features[4:]], [features.flip(0)]):
        found = pooled(parts, "max")
        assert torch.equal(found, expected)
        assert not found.requires_grad
    np.testing.assert_allclose(pooled([features[:2], features[2:]], "mean"), features.detach().numpy().mean(0), 1e-5)


def test_windows_of_a_whole_video_lie_side_by_side_and_the_last_frame_is_repeated():
    assert whole_windows(10, 4, (0, 3)) == [[0, 3], [4, 7], [8, 9]]
    assert whole_windows(8, 4, (0, 3)) == [[0, 3], [4, 7]]


def test_features_are_made_once_and_only_for_equal_facts(tmp_path):
    made = []

    def feature_of(video: str) -> torch.Tensor:
        made.append(video)
        return torch.full((3,), float(len(made)))

    videos = ["a", "__metadata__"]
    file = tmp_path / "weights.gvf.safetensors"
    first = stored_features(file, videos, {"weights": "1"}, feature_of)
    again = stored_features(file, videos, {"weights": "1"}, feature_of)
    assert made == videos
    assert all(torch.equal(first[video], again[video]) for video in videos)
    stored_features(file, videos, {"weights": "2"}, feature_of)
    assert made == [*videos, *videos]
    file.write_bytes(b"no such file")
    with pytest.raises(PipelineError, match=r"gvf\.safetensors cannot be read"):
        stored_features(file, videos, {}, feature_of)


def brightest_stretches(levels: range) -> list[tuple[float, float]]:
    """Return (background, foreground) of videos: in each, the foreground is brighter, by one level."""
    return [(level - 10.0, level - 9.0) for level in levels]


@pytest.mark.parametrize("with_global", [True, False])
def test_the_region_of_the_brightest_stretch_is_learned_only_with_the_global_feature(with_global):
    """A level is the foreground of one video and the background of another: a clip alone does not tell."""
    torch.manual_seed(0)
    videos = brightest_stretches(range(20))
    encoder = nn.Sequential(nn.Linear(1, 16), nn.LeakyReLU(), nn.Linear(16, 8))
    made = TspHeads(8, 1, global_channels=8 if with_global else 0, with_region=True)
    clips = torch.tensor([[value] for pair in videos for value in pair])
    regions = torch.tensor([NO_ACTION, ACTION] * len(videos))
    with torch.no_grad():  # of the initial encoder, a constant
        of_video = [pooled([encoder(clips[2 * n : 2 * n + 2])], "max") for n in range(len(videos))]
    given = torch.stack([feature for feature in of_video for _ in range(2)]) if with_global else None
    optimizer = torch.optim.AdamW([*encoder.parameters(), *made.parameters()], lr=1e-2)
    for _ in range(1000):
        loss = region_loss(made(encoder(clips), given)[1], regions)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    accuracy = (made(encoder(clips), given)[1].argmax(dim=1) == regions).float().mean().item()
    if with_global:
        assert accuracy > 0.95
    else:
        assert 0.4 < accuracy < 0.65  # the darkest and the brightest level tell, the 19 between them do not
