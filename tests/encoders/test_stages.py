"""The stages of networks, and what freezing the first ones does."""

import pytest
import torch
from torch import nn

from encoders.catalog import catalog_entry
from encoders.errors import EncoderError
from encoders.stages import freeze_stages, stages_of

RESNET = ["conv1", "layer1", "layer2", "layer3", "layer4"]
BLOCKS = [f"blocks.{place}" for place in range(6)]


@pytest.mark.parametrize(
    ("name", "names"),
    [("tsn_r18", RESNET), ("x3d_s", BLOCKS), ("r2plus1d_34", ["stem", *RESNET[1:]])],
)
def test_each_parameter_is_in_one_stage_in_the_order_of_the_data(name, names):
    network = catalog_entry(name).build()
    stages = stages_of(network)
    assert [stage.name for stage in stages] == names
    held = [id(parameter) for stage in stages for parameter in stage.parameters]
    assert sorted(held) == sorted(id(parameter) for parameter in network.parameters())


class Transformer(nn.Module):
    """An embedding with a position of its own, a stack of blocks, a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(3))
        self.patches = nn.Sequential(nn.Linear(3, 3))
        self.blocks = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        self.norm = nn.LayerNorm(3)


def test_a_transformer_has_its_embedding_and_its_blocks_also_in_a_wrapper():
    inner = Transformer()
    for network in (inner, nn.Sequential(inner, nn.ReLU())):
        stages = stages_of(network)
        assert [stage.name for stage in stages] == ["patches", "blocks.0", "blocks.1", "norm"]
        assert stages[0].parameters[0] is inner.position


class Encoder(nn.Module):
    """Nothing but its layers, as the encoders of transformers are."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])


class Tower(nn.Module):
    """An embedding, a norm, layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Sequential(nn.Linear(3, 3))
        self.pre_norm = nn.LayerNorm(3)
        self.encoder = Encoder()


class TwoTowers(nn.Module):
    """A tower with what projects its output, and a number of their own, as CLIP has them."""

    def __init__(self) -> None:
        super().__init__()
        self.vision_model = Tower()
        self.projection = nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.ones(()))


def test_a_tower_beside_its_projection_has_stages_of_its_own():
    stages = stages_of(TwoTowers())
    tower = ["vision_model.embeddings", "vision_model.encoder.0", "vision_model.encoder.1"]
    assert [stage.name for stage in stages] == [*tower, "projection"]
    assert [len(stage.parameters) for stage in stages] == [5, 2, 2, 2]  # the scale and the norm are in the stem


def test_frozen_stages_have_no_gradient_and_the_next_has_one():
    network = catalog_entry("tsn_r18").build()
    frozen = freeze_stages(network, 2)
    assert frozen == [network.conv1, network.bn1, network.layer1]
    network(torch.rand(2, 3, 32, 32)).sum().backward()
    assert all(p.grad is None for module in frozen for p in module.parameters())
    assert next(network.layer2.parameters()).grad.abs().sum() > 0


@pytest.mark.parametrize("count", [-1, 5, 9])
def test_a_network_must_have_a_stage_left_to_train(count):
    with pytest.raises(EncoderError, match="frozen_stages must be between 0 and 4"):
        freeze_stages(catalog_entry("tsn_r18").build(), count)
