"""Every network of the catalog, compared with its published or written-out form in eager fp32."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import fx
from torch.nn import functional

from encoders.catalog import CATALOG
from encoders.encoder import load_encoder
from encoders.entry import CatalogEntry
from encoders.layouts import INCEPTION_LAYOUTS
from encoders.networks import build_slowfast_r50, build_x3d
from encoders.runtime import BATCH_NORMS, fold_batch_norm, has_fast_bf16

hub = pytest.importorskip("pytorchvideo.models.hub")


def stir(network: torch.nn.Module) -> torch.nn.Module:
    """Give every batch norm its own statistics, so that wrong folding shows."""
    for name, module in network.named_modules():
        if isinstance(module, BATCH_NORMS):
            last = name.endswith(("norm_c", "conv2.1"))
            module.weight.data.uniform_(*((0.1, 0.3) if last else (0.5, 1.5)))
            module.bias.data.uniform_(-0.3, 0.3)
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def entry_of_size(name: str, size: int | None) -> CatalogEntry:
    entry = CATALOG[name]
    if size is None:
        return entry
    return replace(entry, spec=replace(entry.spec, short_side=size, crop_size=size, fixed_size=None))


def some_pixels(entry: CatalogEntry) -> torch.Tensor:
    spec = entry.spec
    shape = (1, spec.num_frames, spec.crop_size, spec.crop_size, 3)
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randint(0, 256, (1, spec.num_frames, 1, 1, 3), generator=generator)
    return ((coarse + torch.randint(0, 256, shape, generator=generator)) // 2).to(torch.uint8)


def assert_same(entry: CatalogEntry, path: str, snippets: torch.Tensor, expected: torch.Tensor) -> None:
    encoder = load_encoder(entry, weights=path, precision="fp32", device="cpu", batch_size=1)
    features = encoder.encode(snippets)
    assert encoder.notes == ()
    assert features.shape == expected.shape == (1, entry.spec.feature_dim)
    assert float((features - expected).abs().max() / expected.abs().max()) < 1e-4
    if has_fast_bf16():
        fast = load_encoder(entry, weights=path, precision="bf16", device="cpu", batch_size=1)
        assert torch.cosine_similarity(fast.encode(snippets), expected).item() >= 0.999


def published(name: str) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return stir(getattr(hub, name)(pretrained=False))


def classifier_input(network: torch.nn.Module, projection: torch.nn.Module, inputs: object) -> torch.Tensor:
    """Return the input of the published network's last linear layer, averaged over places [B, C]."""
    seen: list[torch.Tensor] = []
    projection.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        network(inputs)
    return seen[0].flatten(1, -2).mean(dim=1) if seen[0].ndim > 2 else seen[0]


def clips_of(snippets: torch.Tensor) -> torch.Tensor:
    return ((snippets.float() / 255.0 - 0.45) / 0.225).permute(0, 4, 1, 2, 3).contiguous()


@pytest.mark.parametrize("name", ["c2d_r50", "slow_r50", "csn_r101", "r2plus1d_r50"])
def test_resnet_kinds_equal_the_mean_over_the_last_map(name, tmp_path):
    entry = entry_of_size(name, 64)
    network = published(name)
    torch.save({"model_state": network.state_dict()}, tmp_path / "w.pyth")
    snippets = some_pixels(entry)
    x = clips_of(snippets)
    with torch.no_grad():
        for block in network.blocks[:-1]:
            x = block(x)
    assert_same(entry, str(tmp_path / "w.pyth"), snippets, functional.adaptive_avg_pool3d(x, 1).flatten(1))


def test_x3d_s_equals_what_its_classifier_gets(tmp_path):
    entry = entry_of_size("x3d_s", None)
    network = published("x3d_s")
    torch.save({"model_state": network.state_dict()}, tmp_path / "w.pyth")
    snippets = some_pixels(entry)
    expected = classifier_input(network, network.blocks[-1].proj, clips_of(snippets))
    assert_same(entry, str(tmp_path / "w.pyth"), snippets, expected)


@pytest.mark.slow
def test_x3d_m_equals_what_its_classifier_gets(tmp_path):
    entry = entry_of_size("x3d_m", None)
    network = published("x3d_m")
    torch.save({"model_state": network.state_dict()}, tmp_path / "w.pyth")
    snippets = some_pixels(entry)
    expected = classifier_input(network, network.blocks[-1].proj, clips_of(snippets))
    assert_same(entry, str(tmp_path / "w.pyth"), snippets, expected)


@pytest.mark.slow
def test_slowfast_r50_equals_what_its_classifier_gets(tmp_path):
    entry = entry_of_size("slowfast_r50", None)
    network = published("slowfast_r50")
    torch.save({"model_state": network.state_dict()}, tmp_path / "w.pyth")
    snippets = some_pixels(entry)
    clips = clips_of(snippets)
    slow = clips[:, :, [0, 4, 8, 13, 17, 22, 26, 31]]  # floor(31 k / 7)
    expected = classifier_input(network, network.blocks[-1].proj, [slow, clips])
    assert_same(entry, str(tmp_path / "w.pyth"), snippets, expected)


@pytest.mark.slow
def test_mvit_base_16x4_equals_what_its_classifier_gets(tmp_path):
    entry = entry_of_size("mvit_base_16x4", None)
    network = published("mvit_base_16x4")
    torch.save({"model_state": network.state_dict()}, tmp_path / "w.pyth")
    snippets = some_pixels(entry)
    expected = classifier_input(network, network.head.proj, clips_of(snippets))
    assert_same(entry, str(tmp_path / "w.pyth"), snippets, expected)


def test_r2plus1d_34_equals_torchvision_with_the_published_planes(tmp_path):
    resnet = pytest.importorskip("torchvision.models.video.resnet")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = resnet.VideoResNet(resnet.BasicBlock, [resnet.Conv2Plus1D] * 4, [3, 4, 6, 3], resnet.R2Plus1dStem)
        network.layer2[0].conv2[0] = resnet.Conv2Plus1D(128, 128, 288)
        network.layer3[0].conv2[0] = resnet.Conv2Plus1D(256, 256, 576)
        network.layer4[0].conv2[0] = resnet.Conv2Plus1D(512, 512, 1152)
        stir(network)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.eps = 1e-3
    state = {f"features.{k}": v for k, v in network.state_dict().items() if not k.startswith("fc.")}
    state["fc1.weight"] = torch.zeros(200, 512)
    torch.save({"model": state, "epoch": 5}, tmp_path / "w.pth")
    entry = entry_of_size("r2plus1d_34", 32)
    snippets = some_pixels(entry)
    mean, std = torch.tensor([0.43216, 0.394666, 0.37645]), torch.tensor([0.22803, 0.22145, 0.216989])
    network.fc = torch.nn.Identity()
    with torch.no_grad():
        expected = network(((snippets.float() / 255.0 - mean) / std).permute(0, 4, 1, 2, 3))
    assert_same(entry, str(tmp_path / "w.pth"), snippets, expected)


# Inception-v1, written out a second time: the names of one circulating layout, TensorFlow's SAME from its formula.
INCEPTION = [
    ("Mixed_3b", 192, [64, 96, 128, 16, 32, 32]),
    ("Mixed_3c", 256, [128, 128, 192, 32, 96, 64]),
    ("Mixed_4b", 480, [192, 96, 208, 16, 48, 64]),
    ("Mixed_4c", 512, [160, 112, 224, 24, 64, 64]),
    ("Mixed_4d", 512, [128, 128, 256, 24, 64, 64]),
    ("Mixed_4e", 512, [112, 144, 288, 32, 64, 64]),
    ("Mixed_4f", 528, [256, 160, 320, 32, 128, 128]),
    ("Mixed_5b", 832, [256, 160, 320, 32, 128, 128]),
    ("Mixed_5c", 832, [384, 192, 384, 48, 128, 128]),
]


def inception_shapes() -> dict[str, tuple[int, int, int]]:
    """Return (channels in, channels out, kernel size) by the unit's name in piergiaj/pytorch-i3d."""
    shapes = {"Conv3d_1a_7x7": (3, 64, 7), "Conv3d_2b_1x1": (64, 64, 1), "Conv3d_2c_3x3": (64, 192, 3)}
    for name, channels, (b0, b1a, b1b, b2a, b2b, b3b) in INCEPTION:
        shapes |= {f"{name}.b0": (channels, b0, 1), f"{name}.b3b": (channels, b3b, 1)}
        shapes |= {f"{name}.b1a": (channels, b1a, 1), f"{name}.b1b": (b1a, b1b, 3)}
        shapes |= {f"{name}.b2a": (channels, b2a, 1), f"{name}.b2b": (b2a, b2b, 3)}
    return shapes


def piergiaj_state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    state: dict[str, torch.Tensor] = {}
    for name, (channels_in, channels_out, size) in inception_shapes().items():
        weight = torch.randn((channels_out, channels_in, size, size, size), generator=generator)
        state[f"{name}.conv3d.weight"] = weight * (2.0 / (channels_in * size**3)) ** 0.5
        for key, low, high in (("weight", 0.7, 1.3), ("bias", -0.2, 0.2)):
            state[f"{name}.bn.{key}"] = torch.rand(channels_out, generator=generator) * (high - low) + low
        state[f"{name}.bn.running_mean"] = torch.rand(channels_out, generator=generator) * 0.4 - 0.2
        state[f"{name}.bn.running_var"] = torch.rand(channels_out, generator=generator) * 0.5 + 0.002
        state[f"{name}.bn.num_batches_tracked"] = torch.tensor(1)
    state["logits.conv3d.weight"] = torch.zeros(400, 1024, 1, 1, 1)
    state["logits.conv3d.bias"] = torch.zeros(400)
    return state


def hassony2_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    places = {"b0": "branch_0", "b3b": "branch_3.1"}
    places |= {f"b{i}{place}": f"branch_{i}.{k}" for i in (1, 2) for k, place in enumerate("ab")}
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "logits":
            parts[0] = "conv3d_0c_1x1"
        parts = [places.get(p, "batch3d" if p == "bn" else p) for p in parts]
        parts[0] = parts[0].replace("Mixed", "mixed").replace("Conv3d", "conv3d")
        renamed[".".join(parts)] = value
    return renamed


def same(x: torch.Tensor, kernel: tuple, stride: tuple) -> torch.Tensor:
    """Pad with zeros by the formula of TensorFlow's SAME."""
    pads: list[int] = []
    for n, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads)


def inception_reference(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    def unit(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        weight = state[f"{name}.conv3d.weight"]
        x = functional.conv3d(same(x, weight.shape[2:], (stride,) * 3), weight, stride=stride)
        stats = [state[f"{name}.bn.{k}"] for k in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *stats, eps=1e-3).relu()

    def pool(x: torch.Tensor, kernel: tuple, stride: tuple) -> torch.Tensor:
        return functional.max_pool3d(same(x, kernel, stride), kernel, stride)

    x = pool(unit(x, "Conv3d_1a_7x7", stride=2), (1, 3, 3), (1, 2, 2))
    x = pool(unit(unit(x, "Conv3d_2b_1x1"), "Conv3d_2c_3x3"), (1, 3, 3), (1, 2, 2))
    for name, _, _ in INCEPTION:
        if name == "Mixed_4b":
            x = pool(x, (3, 3, 3), (2, 2, 2))
        if name == "Mixed_5b":
            x = pool(x, (2, 2, 2), (2, 2, 2))
        pooled = pool(x, (3, 3, 3), (1, 1, 1))
        branches = [unit(x, f"{name}.b0")]
        branches += [unit(unit(x, f"{name}.b{i}a"), f"{name}.b{i}b") for i in (1, 2)]
        x = torch.cat([*branches, unit(pooled, f"{name}.b3b")], dim=1)
    return x.mean(dim=(3, 4)).mean(dim=2)


@pytest.mark.parametrize("layout", ["piergiaj", "hassony2"])
def test_i3d_inception_equals_the_written_out_network_from_either_layout(layout, tmp_path):
    state = piergiaj_state()
    torch.save(state if layout == "piergiaj" else hassony2_state(state), tmp_path / "rgb.pt")
    entry = entry_of_size("i3d_inception", 64)
    snippets = some_pixels(entry)
    clips = (2.0 * snippets.float() / 255.0 - 1.0).permute(0, 4, 1, 2, 3)
    with torch.no_grad():
        expected = inception_reference(state, clips)
    assert_same(entry, str(tmp_path / "rgb.pt"), snippets, expected)


def test_the_two_layouts_of_inception_are_told_apart():
    state = piergiaj_state()
    assert INCEPTION_LAYOUTS[0].marker in state and INCEPTION_LAYOUTS[1].marker not in state
    assert INCEPTION_LAYOUTS[1].marker in hassony2_state(state)


@pytest.mark.parametrize("name", CATALOG)
def test_no_batch_norm_is_left_after_folding(name):
    network = CATALOG[name].build().eval()
    if any(isinstance(m, BATCH_NORMS) for m in network.modules()):
        network = fold_batch_norm(network)
    left = [n for n, m in network.named_modules() if isinstance(m, BATCH_NORMS)]
    # X3D's and SlowFast's own batch norms all follow a convolution, too.
    assert left == []


@pytest.mark.parametrize("build", [partial(build_x3d, "x3d_s"), build_slowfast_r50])
def test_pictures_smaller_than_published_are_averaged_whole(build):
    """As `pretrain --size 64` makes them: their map is smaller than the published pooling."""
    torch.manual_seed(0)
    network = build().eval()
    frames = 32 if build is build_slowfast_r50 else 13
    clips = torch.randn(1, 3, frames, 64, 64)
    seen = []
    for block in list(network.blocks):
        block.register_forward_hook(lambda module, given, out: seen.append(out))
    with torch.no_grad():
        features, last = network(clips), seen[-1]
        assert torch.equal(fx.symbolic_trace(network)(clips), features)
    if frames == 32:
        torch.testing.assert_close(features, torch.cat([one.mean(dim=(2, 3, 4)) for one in last], dim=1))
    else:
        pool = network.blocks[-1].pool
        with torch.no_grad():
            mean = pool.pre_act(pool.pre_norm(pool.pre_conv(last))).mean(dim=(2, 3, 4), keepdim=True)
            expected = pool.post_act(pool.post_conv(mean)).flatten(1)
        torch.testing.assert_close(features, expected)
