"""Flow encoders compared with written-out networks, and two streams compared with each stream alone."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from encoders.catalog import CATALOG, catalog_entry, flow_variant
from encoders.encoder import load_encoder
from encoders.errors import EncoderError
from encoders.two_stream import StreamEncoder
from tests.encoders.test_networks import hassony2_state, inception_reference, piergiaj_state


def small(name: str, size: int = 64):
    entry = CATALOG[name]
    return replace(entry, spec=replace(entry.spec, short_side=size, crop_size=size))


def load(name: str, weights: str = "random", **settings):
    return load_encoder(small(name), weights=weights, precision="fp32", device="cpu", **settings)


def pictures(spec, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    shape = (count, *spec.snippet_shape[:3], 5)
    return torch.randint(0, 256, shape, generator=generator).to(torch.uint8)


def close(features: torch.Tensor, expected: torch.Tensor) -> bool:
    return float((features - expected).abs().max() / expected.abs().max()) < 1e-4


def mmaction2_flow_state() -> dict[str, torch.Tensor]:
    """Return a TSN of flow in mmaction2's format, made from torchvision's ResNet-50 with a stem of ten channels."""
    from torchvision.models import resnet50

    with torch.random.fork_rng():
        torch.manual_seed(6)
        network = resnet50(weights=None)
        network.conv1 = nn.Conv2d(10, 64, 7, stride=2, padding=3, bias=False)
    state = {}
    for key, value in network.state_dict().items():
        if key.startswith("fc."):
            state[f"cls_head.fc_cls.{key[3:]}"] = value
            continue
        *path, place, leaf = key.split(".")
        if path and path[-1] == "downsample":
            place = {"0": "conv", "1": "bn"}[place]
        else:
            place = f"conv{place[-1]}.{'conv' if place.startswith('conv') else 'bn'}"
        state[".".join(["backbone", *path, place, leaf])] = value
    return state


def test_tsn_flow_reads_mmaction2s_file_and_stacks_x1_y1_x2_y2(tmp_path):
    from torchvision.models import resnet50

    state = mmaction2_flow_state()
    torch.save({"state_dict": state, "meta": {}}, tmp_path / "flow.pth")
    encoder = load("tsn_r50_flow", str(tmp_path / "flow.pth"))
    with torch.random.fork_rng():
        torch.manual_seed(6)
        network = resnet50(weights=None)
        network.conv1 = nn.Conv2d(10, 64, 7, stride=2, padding=3, bias=False)
    network.fc = nn.Identity()
    network.eval()
    flow = pictures(encoder.spec)[..., 3:]
    assert flow.shape == (2, 15, 64, 64, 2)
    expected = torch.zeros(2, 2048)
    for segment in range(3):
        channels = [
            (flow[:, 5 * segment + place, :, :, axis].float() - 128) / 128 for place in range(5) for axis in range(2)
        ]
        with torch.no_grad():
            expected += network(torch.stack(channels, dim=1)) / 3
    assert close(encoder.encode(flow), expected)


@pytest.mark.parametrize("layout", ["piergiaj", "hassony2"])
def test_i3d_flow_equals_the_written_out_network_from_either_layout(layout, tmp_path):
    state = piergiaj_state()
    stem = torch.randn(64, 2, 7, 7, 7, generator=torch.Generator().manual_seed(9)) * (2.0 / (2 * 343)) ** 0.5
    state["Conv3d_1a_7x7.conv3d.weight"] = stem
    torch.save(state if layout == "piergiaj" else hassony2_state(state), tmp_path / "flow.pt")
    encoder = load("i3d_inception_flow", str(tmp_path / "flow.pt"))
    flow = pictures(encoder.spec)[..., 3:]
    with torch.no_grad():
        expected = inception_reference(state, ((flow.float() - 128) / 127.5).permute(0, 4, 1, 2, 3))
    assert close(encoder.encode(flow), expected)


def test_rgb_weights_do_not_fit_a_flow_network(tmp_path):
    torch.save(piergiaj_state(), tmp_path / "rgb.pt")
    with pytest.raises(EncoderError, match=r"conv_1a\.conv\.weight is \(64, 3, 7, 7, 7\), expected \(64, 2, 7, 7, 7\)"):
        load("i3d_inception_flow", str(tmp_path / "rgb.pt"))


@pytest.mark.parametrize("name", ["tsn_r50", "i3d_inception"])
def test_two_streams_are_the_features_of_each_side_by_side(name):
    rgb, flow = load(name, seed=1), load(f"{name}_flow", seed=2, batch_size=1)
    both = StreamEncoder({"rgb": rgb, "flow": flow})
    given = pictures(flow.spec, count=3)
    features = both.encode(given)
    assert both.snippet_shape == given.shape[1:]
    assert features.shape == (3, both.feature_dim) == (3, 2 * rgb.spec.feature_dim)
    middle = given[:, 2::5] if name == "tsn_r50" else given
    torch.testing.assert_close(features[:, : rgb.spec.feature_dim], rgb.encode(middle[..., :3].contiguous()))
    torch.testing.assert_close(features[:, rgb.spec.feature_dim :], flow.encode(given[..., 3:].contiguous()))
    assert torch.equal(StreamEncoder({"flow": flow}).encode(given), features[:, rgb.spec.feature_dim :])
    assert both.encode(given[:0]).shape == (0, both.feature_dim)
    assert both.batch_size == 1


def test_streams_that_do_not_go_together_are_refused():
    rgb, flow = load("tsn_r50"), load("tsn_r50_flow")
    with pytest.raises(EncoderError, match="takes flow, it cannot be the stream rgb"):
        StreamEncoder({"rgb": flow, "flow": flow})
    rgb.spec = replace(rgb.spec, fps=25.0)
    with pytest.raises(EncoderError, match=r"do not go together: they differ in \['fps'\]"):
        StreamEncoder({"rgb": rgb, "flow": flow})


def test_streams_of_one_family_see_the_same_frames():
    for name in ("tsn_r50", "i3d_inception"):
        rgb, flow = catalog_entry(name).spec, catalog_entry(flow_variant(name)).spec
        for field in ("fps", "window_frames", "num_frames", "short_side", "crop_size", "feature_dim"):
            assert getattr(rgb, field) == getattr(flow, field)


def test_an_encoder_without_flow_names_those_that_have_it():
    with pytest.raises(EncoderError, match="x3d_s has no flow stream; choose one of tsn_r50, i3d_inception"):
        flow_variant("x3d_s")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"modality": "flow"}, "mean and std must be 2 numbers each for flow"),
        ({"stack": 2}, "stack must be 1 with layout clip"),
        ({"stack": 0}, "stack must be a number > 0"),
        ({"stack": 3, "layout": "frames", "window_frames": 23}, r"window_frames must be >= num_frames \* stack"),
    ],
)
def test_impossible_specs_are_refused(changes, words):
    with pytest.raises(EncoderError, match=words):
        replace(catalog_entry("i3d_r50").spec, **changes)


def test_specs_of_rgb_encoders_say_what_they_always_said():
    assert "stack" not in catalog_entry("tsn_r50").spec.as_dict()
    assert catalog_entry("tsn_r50_flow").spec.as_dict()["stack"] == 5
