"""The anchor-free head's network, its masks, and its parts."""

import json
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F

from pipeline.errors import PipelineError
from pipeline.heads.anchor_free import AnchorFreeHead
from pipeline.heads.blocks import ChannelNorm, DepthwiseBlock, Standardize, local_attention
from pipeline.heads.config import HeadConfig

BLOCKS = ("attention", "depthwise", "conv")


def small_head(**options) -> AnchorFreeHead:
    torch.manual_seed(0)
    defaults = {"embed_dim": 16, "levels": 4, "attention_window": 5, "attention_heads": 2}
    head = AnchorFreeHead(6, 3, HeadConfig(**{**defaults, **options}))
    # Biases and norms that start at 0 would hide what leaks from padding.
    for name, parameter in head.named_parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=1.0 if name.endswith("weight") else 0.0, std=0.3)
    return head.eval()


def outputs_of(
    head: AnchorFreeHead, features: torch.Tensor, mask: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    with torch.no_grad():
        return [(level.logits, level.distances) for level in head(features, mask)]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("position", ["none", "absolute"])
@pytest.mark.parametrize("length", [1, 2, 7, 16, 21])
def test_padding_never_changes_the_valid_part(block: str, position: str, length: int) -> None:
    head = small_head(block=block, position=position)
    features = torch.randn(1, length, 6)
    alone = outputs_of(head, features, torch.ones(1, length, dtype=torch.bool))
    for fill in (0.0, 1e4, float("nan")):
        padded = torch.full((2, 40, 6), fill)
        padded[0, :length] = features[0]
        padded[1] = torch.randn(40, 6)
        mask = torch.zeros(2, 40, dtype=torch.bool)
        mask[0, :length] = True
        mask[1] = True
        for (logits, distances), (want_logits, want_distances) in zip(
            outputs_of(head, padded, mask), alone, strict=True
        ):
            count = want_logits.shape[1]
            torch.testing.assert_close(logits[:1, :count], want_logits, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(distances[:1, :count], want_distances, atol=1e-5, rtol=1e-5)


def test_level_masks_mark_the_points_that_lie_on_valid_snippets() -> None:
    head = small_head()
    mask = torch.zeros(1, 12, dtype=torch.bool)
    mask[0, :7] = True
    levels = head(torch.randn(1, 12, 6), mask)
    assert [level.stride for level in levels] == [1, 2, 4, 8]
    assert [level.points.tolist() for level in levels][2:] == [[0, 4, 8], [0, 8]]
    assert [level.mask[0].sum().item() for level in levels] == [7, 4, 2, 1]


@pytest.mark.parametrize("block", BLOCKS)
def test_any_length_gives_points_on_every_level_and_gradients_everywhere(block: str) -> None:
    head = small_head(block=block)
    for length in (1, 5, 30):
        levels = head(torch.randn(1, length, 6), torch.ones(1, length, dtype=torch.bool))
        assert [len(level.points) for level in levels] == [-(-length // 2**n) for n in range(4)]
        assert all((level.distances >= 0).all() for level in levels)
    head.train()
    sum((level.logits.square().sum() + level.distances.sum()) for level in levels).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_input_of_any_scale_gives_the_same_output_once_its_statistics_are_set() -> None:
    plain, scaled = small_head(), small_head()
    features = torch.randn(2, 9, 6)
    mean, std = torch.linspace(-50, 50, 6), torch.linspace(1, 300, 6)
    scaled.set_input_statistics(mean, std)
    mask = torch.ones(2, 9, dtype=torch.bool)
    for (logits, _), (want, _) in zip(
        outputs_of(scaled, features * std + mean, mask), outputs_of(plain, features, mask), strict=True
    ):
        torch.testing.assert_close(logits, want, atol=1e-4, rtol=1e-4)


def test_a_channel_that_never_varies_is_centerd_and_not_divided_by_zero() -> None:
    standardize = Standardize(2)
    standardize.set(torch.tensor([5.0, 1.0]), torch.tensor([0.0, 2.0]))
    assert standardize(torch.tensor([[5.0, 5.0]])).tolist() == [[0.0, 2.0]]


def test_input_statistics_travel_in_the_state_dict() -> None:
    head, other = small_head(), small_head()
    head.set_input_statistics(torch.full((6,), 3.0), torch.full((6,), 2.0))
    other.load_state_dict(head.state_dict())
    assert other.standardize.mean.tolist() == [3.0] * 6


def test_position_encoding_makes_equal_rows_differ() -> None:
    rows = torch.ones(1, 30, 6)
    mask = torch.ones(1, 30, dtype=torch.bool)
    middle = slice(12, 18)  # away from both ends, which any network can tell
    without = outputs_of(small_head(levels=1, stem_blocks=0), rows, mask)[0][0][0, middle]
    with_position = outputs_of(small_head(levels=1, stem_blocks=0, position="absolute"), rows, mask)[0][0][0, middle]
    assert (without - without[0]).abs().max() < 1e-5
    assert (with_position - with_position[0]).abs().max() > 1e-3


def test_local_attention_equals_full_attention_with_a_band_mask() -> None:
    torch.manual_seed(1)
    query, key, value = torch.randn(3, 2, 8, 11, dtype=torch.float64)
    valid = torch.ones(2, 1, 11, dtype=torch.float64)
    valid[1, :, 7:] = 0
    got = local_attention(query, key, value, valid, window=5, heads=2)
    distance = (torch.arange(11)[:, None] - torch.arange(11)).abs()
    allowed = (distance <= 2) & (valid[:, :, None] > 0)  # [B, 1, T, T]

    def split(x: torch.Tensor) -> torch.Tensor:  # [B, C, T] -> [B, heads, T, D]
        return x.reshape(2, 2, 4, 11).transpose(2, 3)

    want = F.scaled_dot_product_attention(split(query), split(key), split(value), attn_mask=allowed)
    want = want.transpose(2, 3).reshape(2, 8, 11)
    torch.testing.assert_close((got * valid)[0], want[0])
    torch.testing.assert_close(got[1, :, :7], want[1, :, :7])


def test_channel_norm_equals_layer_norm_over_channels() -> None:
    norm = ChannelNorm(5).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 5, 7, dtype=torch.float64)
    want = F.layer_norm(x.transpose(1, 2), (5,), norm.weight, norm.bias).transpose(1, 2)
    torch.testing.assert_close(norm(x), want)


@pytest.mark.parametrize("shape", [(1, 4, 5), (1, 0, 6), (4, 6)])
def test_features_of_another_shape_are_refused_with_both_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(PipelineError, match=r"features must be \[B, T, 6\]"):
        small_head()(torch.zeros(shape), torch.ones(shape[:2], dtype=torch.bool))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embed_dim": 0}, "embed_dim must be >= 1, got 0"),
        ({"kernel": 4}, "kernel must be odd and >= 1, got 4"),
        ({"block": "mamba"}, "block must be one of attention, depthwise, conv, got 'mamba'"),
        ({"kind": "bmn"}, "kind must be one of anchor_free, gtad, actionness, got 'bmn'"),
        ({"kind": "gtad", "embed_dim": 24}, "gtad_groups must divide half of embed_dim=24, got 16"),
        ({"actionness_thresholds": ()}, "actionness_thresholds must be one or more numbers > 0 and < 1"),
        ({"dropout": 1.0}, "dropout must be >= 0 and < 1"),
        ({"block": "attention", "embed_dim": 30}, "attention_heads must divide embed_dim=30, got 4"),
        ({"max_test_snippets": 4}, "max_test_snippets must be 0 or >= 8, got 4"),
    ],
)
def test_options_outside_their_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(PipelineError) as error:
        HeadConfig(**options)
    assert message in str(error.value)


def test_heads_without_attention_take_any_width() -> None:
    assert HeadConfig(kind="actionness", block="attention", embed_dim=30).embed_dim == 30


def test_settings_survive_json() -> None:
    config = HeadConfig(kind="actionness", actionness_thresholds=(0.2, 0.4))
    assert HeadConfig(**json.loads(json.dumps(asdict(config)))) == config


def test_a_depthwise_block_begins_with_the_mean_of_neighbors_of_each_channel() -> None:
    block = DepthwiseBlock(4, 3, 0.0)
    for layer in (block.temporal.conv, block.mix.conv):
        torch.nn.init.zeros_(layer.bias)
    block.mix.conv.weight.data = torch.eye(4)[:, :, None]
    torch.nn.init.zeros_(block.mlp.contract.conv.weight)
    torch.nn.init.zeros_(block.mlp.contract.conv.bias)
    x = torch.randn(1, 4, 5)
    normed = block.norm(x)
    mean = (F.pad(normed, (2, 0)) + F.pad(normed, (1, 1)) + F.pad(normed, (0, 2)))[:, :, 1:-1] / 3
    torch.testing.assert_close(block(x, torch.ones(1, 1, 5)), x + mean)
