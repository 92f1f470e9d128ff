"""Features of the runtime path, compared with the plain published networks in eager fp32."""

from dataclasses import replace

import pytest
import torch

from encoders.catalog import CATALOG
from encoders.encoder import load_encoder
from encoders.entry import CatalogEntry
from encoders.errors import EncoderError
from encoders.packed import can_pack
from encoders.prepare import batch_that_fits
from encoders.runtime import fold_batch_norm, has_fast_bf16
from encoders.spec import EncoderSpec

needs_bf16 = pytest.mark.skipif(not has_fast_bf16(), reason="this CPU has no bfloat16 instructions")


def small(name: str, size: int) -> CatalogEntry:
    """Return the catalog's encoder on smaller frames: fully convolutional networks accept any size."""
    entry = CATALOG[name]
    return replace(entry, spec=replace(entry.spec, short_side=size, crop_size=size))


def stir(network: torch.nn.Module) -> torch.nn.Module:
    """Give every batch norm its own statistics, so that wrong folding shows."""
    generator = torch.Generator().manual_seed(5)
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            last = name.endswith(("norm_c", "bn3"))
            module.weight.data.uniform_(*((0.1, 0.3) if last else (0.5, 1.5)), generator=generator)
            module.bias.data.uniform_(-0.5, 0.5, generator=generator)
            module.running_mean.uniform_(-0.5, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def pixels(batch: int, spec: EncoderSpec) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    shape = (batch, spec.num_frames, spec.crop_size, spec.crop_size, 3)
    coarse = torch.randint(0, 256, (batch, 1, 1, 1, 3), generator=generator)
    noise = torch.randint(0, 256, shape, generator=generator)
    return ((coarse + noise) // 2).to(torch.uint8)


def relative_error(features: torch.Tensor, expected: torch.Tensor) -> float:
    return float((features - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="module")
def i3d(tmp_path_factory):
    """Return pytorchvideo's own network, and a weight file of it in the model zoo's format."""
    hub = pytest.importorskip("pytorchvideo.models.hub")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = stir(hub.i3d_r50(pretrained=False))
    path = tmp_path_factory.mktemp("weights") / "I3D.pyth"
    torch.save({"model_state": network.state_dict()}, path)
    return network, str(path)


def i3d_reference(network: torch.nn.Module, snippets: torch.Tensor) -> torch.Tensor:
    """Return the input of the published network's classifier, with preprocessing written out."""
    clips = torch.stack([s.permute(3, 0, 1, 2).float() for s in snippets])
    clips = (clips / 255.0 - 0.45) / 0.225
    with torch.no_grad():
        for block in network.blocks[:-1]:
            clips = block(clips)
        return torch.nn.AdaptiveAvgPool3d(1)(clips).flatten(1)


def test_i3d_r50_equals_pytorchvideo_in_fp32(i3d):
    network, path = i3d
    encoder = load_encoder(small("i3d_r50", 64), weights=path, precision="fp32", device="cpu")
    snippets = pixels(3, encoder.spec)  # two forward passes of two, the last one padded
    features = encoder.encode(snippets)
    assert features.shape == (3, 2048) and features.dtype == torch.float32
    assert relative_error(features, i3d_reference(network, snippets)) < 1e-4
    assert encoder.notes == ()


def test_i3d_r50_is_what_the_classifier_of_the_whole_network_gets(i3d):
    network, path = i3d
    encoder = load_encoder(CATALOG["i3d_r50"], weights=path, precision="fp32", device="cpu", batch_size=1)
    snippets = pixels(1, encoder.spec)
    seen = []
    handle = network.blocks[-1].proj.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        network(((snippets.float() / 255.0 - 0.45) / 0.225).permute(0, 4, 1, 2, 3))
    handle.remove()
    assert relative_error(encoder.encode(snippets), seen[0].reshape(1, -1)) < 1e-4


@needs_bf16
def test_i3d_r50_in_bf16_points_where_fp32_does(i3d):
    network, path = i3d
    encoder = load_encoder(small("i3d_r50", 64), weights=path, device="cpu")
    snippets = pixels(2, encoder.spec)
    expected = i3d_reference(network, snippets)
    assert encoder.precision == "bf16"
    assert torch.cosine_similarity(encoder.encode(snippets), expected).min() >= 0.999


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
def test_features_do_not_depend_on_batch_composition(precision):
    encoder = load_encoder(small("tsn_r50", 64), weights="random", precision=precision, batch_size=3)
    snippets = pixels(7, encoder.spec)
    together = encoder.encode(snippets)
    alone = torch.cat([encoder.encode(snippets[i : i + 1]) for i in range(7)])
    uneven = torch.cat([encoder.encode(part) for part in snippets.split([5, 0, 2])])
    backwards = encoder.encode(snippets.flip(0)).flip(0)
    assert torch.equal(together, alone)
    assert torch.equal(together, uneven)
    assert torch.equal(together, backwards)


def test_tsn_r50_is_the_mean_of_torchvision_features_of_its_frames(tmp_path):
    models = pytest.importorskip("torchvision.models")
    with torch.random.fork_rng():
        torch.manual_seed(2)
        resnet = stir(models.resnet50(weights=None))
    torch.save(resnet.state_dict(), tmp_path / "resnet50.pth")
    encoder = load_encoder(small("tsn_r50", 64), weights=str(tmp_path / "resnet50.pth"), precision="fp32", device="cpu")
    snippets = pixels(2, encoder.spec)
    resnet.fc = torch.nn.Identity()
    expected = torch.zeros(2, 2048)
    with torch.no_grad():
        for row, snippet in enumerate(snippets):
            for frame in snippet:  # three, one by one
                image = frame.permute(2, 0, 1).float() / 255.0
                image -= torch.tensor([0.485, 0.456, 0.406])[:, None, None]
                image /= torch.tensor([0.229, 0.224, 0.225])[:, None, None]
                expected[row] += resnet(image[None])[0] / 3
    assert relative_error(encoder.encode(snippets), expected) < 1e-4


def test_folding_leaves_no_batch_norm_and_the_given_network_untouched():
    layers = torch.nn
    network = stir(layers.Sequential(layers.Conv2d(3, 4, 3), layers.BatchNorm2d(4), layers.ReLU()))
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        before = network(x)
        folded = fold_batch_norm(network)
        assert not any(isinstance(m, layers.BatchNorm2d) for m in folded.modules())
        torch.testing.assert_close(folded(x), before)
        torch.testing.assert_close(network(x), before, rtol=0, atol=0)


def test_folding_spares_a_batch_norm_whose_convolution_is_read_twice():
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return y + self.norm(y)

    network = stir(Twice())
    x = torch.rand(2, 3, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(fold_batch_norm(network)(x), network(x))


class Cancelling(torch.nn.Module):
    """Add and subtract a large number: the rest of the signal differs between precisions."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        means = clips.float().mean(dim=(2, 3, 4)).to(clips.dtype) + 0 * self.weight
        return (means + 1000.0) - 1000.0


def cancelling_entry() -> CatalogEntry:
    spec = replace(CATALOG["i3d_r50"].spec, feature_dim=3, short_side=8, crop_size=8)
    return CatalogEntry(spec=spec, build=Cancelling, layouts=(), published={})


@needs_bf16
def test_a_network_that_bf16_spoils_falls_back_to_fp32_and_says_so():
    encoder = load_encoder(cancelling_entry(), weights="random", device="cpu")
    assert encoder.precision == "fp32"
    assert any("fell back to fp32" in note and "cosine" in note for note in encoder.notes)
    snippets = pixels(2, encoder.spec)
    expected = ((snippets.double() / 255 - 0.45) / 0.225).mean(dim=(1, 2, 3))
    assert torch.allclose(encoder.encode(snippets).double(), expected, atol=1e-3)


@needs_bf16
def test_forced_bf16_that_spoils_features_is_an_error_with_the_cosine():
    with pytest.raises(EncoderError, match=r"bf16 have cosine -?[01]\.\d+"):
        load_encoder(cancelling_entry(), weights="random", precision="bf16", device="cpu")


@pytest.mark.parametrize(
    "snippets",
    [
        torch.zeros((1, 8, 224, 224, 3)),
        torch.zeros((1, 7, 224, 224, 3), dtype=torch.uint8),
        torch.zeros((8, 224, 224, 3), dtype=torch.uint8),
        torch.zeros((1, 3, 8, 224, 224), dtype=torch.uint8),
    ],
    ids=["float", "frames", "no batch", "channels first"],
)
def test_snippets_of_another_shape_or_type_are_refused(snippets):
    entry = replace(cancelling_entry(), spec=replace(CATALOG["i3d_r50"].spec, feature_dim=3))
    encoder = load_encoder(entry, weights="random", precision="fp32", device="cpu")
    assert encoder.encode(torch.zeros((0, 8, 224, 224, 3), dtype=torch.uint8)).shape == (0, 3)
    with pytest.raises(EncoderError, match=r"uint8 \[B, 8, 224, 224, 3\]"):
        encoder.encode(snippets)


def test_the_runtime_uses_packed_convolutions_on_a_cpu():
    encoder = load_encoder(small("tsn_r50", 64), weights="random", precision="fp32", device="cpu")
    assert encoder.notes == ()
    packed = [m for m in encoder.network.modules() if type(m).__name__ == "PackedConvolution"]
    assert len(packed) == (53 if can_pack() else 0)


@pytest.mark.parametrize(
    ("megabytes_a_snippet", "gigabytes", "batch"),
    [(100, 24, 64), (200, 24, 32), (1000, 24, 8), (9000, 24, 1), (100, 140, 64)],
)
def test_a_gpus_batch_is_the_largest_power_of_two_in_a_third_of_its_memory(megabytes_a_snippet, gigabytes, batch):
    assert batch_that_fits(megabytes_a_snippet * 10**6, gigabytes * 10**9) == batch


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_its_batch_size_by_itself():
    encoder = load_encoder("tsn_r50", weights="random", device="cuda")
    assert encoder.batch_size == load_encoder("tsn_r50", weights="random", device="cuda").batch_size > 1
