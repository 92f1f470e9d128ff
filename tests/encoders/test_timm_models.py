"""Models of timm as encoders: equal to timm's own way, on the same frames."""

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from encoders.encoder import load_encoder
from encoders.errors import EncoderError
from encoders.timm_models import timm_entry
from encoders.weights import file_sha256
from tests.encoders.hub_folders import cache_in, put_repository
from tests.encoders.tiny_models import cropped, frames_for


def drawn(name: str) -> torch.nn.Module:
    """Return a model with drawn weights and statistics, its classifier included."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(name, pretrained=False).eval()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
                torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


def documented(model: torch.nn.Module, snippets: torch.Tensor) -> torch.Tensor:
    """Return the features [B, C] of frames uint8 [B, F, H, W, 3], as timm's pages say."""
    model.reset_classifier(0)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    pictures = [[transform(Image.fromarray(frame.numpy())) for frame in snippet] for snippet in snippets]
    with torch.inference_mode():
        return torch.stack([model(torch.stack(snippet)).mean(0) for snippet in pictures])


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_features_equal_those_of_timms_own_way(name, tmp_path):
    model = drawn(name)
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    encoder = load_encoder(f"timm:{name}", weights=str(tmp_path / "mine.pth"), precision="fp32", device="cpu")
    frames = frames_for(encoder, batch=2)
    expected = documented(model, frames)
    torch.testing.assert_close(encoder.encode(cropped(encoder, frames)), expected, atol=1e-5, rtol=1e-5)
    spec = encoder.spec
    assert (spec.name, spec.num_frames, spec.window_frames) == (f"timm:{name}.r160_in1k", 3, 16)
    assert (spec.short_side, spec.crop_size) == (168, 160)


def test_published_weights_come_from_the_hubs_cache_and_are_recorded(tmp_path, monkeypatch):
    model = drawn("test_vit")
    (tmp_path / "files").mkdir()
    save_file(model.state_dict(), tmp_path / "files" / "model.safetensors")
    cache = cache_in(tmp_path / "cache", monkeypatch)
    folder = put_repository(cache, "timm/test_vit.r160_in1k", tmp_path / "files")
    encoder = load_encoder("timm:test_vit", precision="fp32", device="cpu")
    frames = frames_for(encoder, batch=1)
    torch.testing.assert_close(encoder.encode(cropped(encoder, frames)), documented(model, frames))
    assert encoder.weights.sha256 == file_sha256(folder / "model.safetensors")


def test_published_weights_of_another_network_are_refused(tmp_path, monkeypatch):
    (tmp_path / "files").mkdir()
    save_file(drawn("test_resnet").state_dict(), tmp_path / "files" / "model.safetensors")
    put_repository(cache_in(tmp_path / "cache", monkeypatch), "timm/test_vit.r160_in1k", tmp_path / "files")
    with pytest.raises(EncoderError, match=r"model\.safetensors could not be read: .*Missing key"):
        load_encoder("timm:test_vit", device="cpu")


def test_absent_weights_are_named_with_repository_and_folder(tmp_path, monkeypatch):
    cache = cache_in(tmp_path / "cache", monkeypatch)
    with pytest.raises(EncoderError, match=rf"timm/test_vit\.r160_in1k .* is not in {cache} with model\.safetensors"):
        load_encoder("timm:test_vit", device="cpu")


def test_pooling_is_the_one_that_is_named():
    named = timm_entry("timm:test_vit", pool="mean")
    network = named.build()
    pictures = torch.randn(2, 3, 160, 160)
    with torch.inference_mode():
        tokens = network.forward_features(pictures)  # one class token, then the patches
        torch.testing.assert_close(network(pictures), tokens[:, 1:].mean(1))
    assert named.spec.pool == "mean" and timm_entry("timm:test_vit").spec.pool is None


@pytest.mark.parametrize(
    ("name", "pool", "words"),
    [
        ("timm:test_vitt", None, "timm has no model 'test_vitt'; did you mean test_vit"),
        ("timm:test_resnet", "cls", "timm cannot make test_resnet with pool cls"),
        ("timm:test_vit", "middle", "pool must be one of mean, cls, max, got 'middle'"),
    ],
)
def test_what_timm_does_not_have_is_refused(name, pool, words):
    with pytest.raises(EncoderError, match=words):
        timm_entry(name, pool=pool)
