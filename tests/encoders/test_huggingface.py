"""Models of transformers as encoders: equal to the library's own way, on the same frames."""

from types import SimpleNamespace

import pytest
import torch

from encoders.encoder import load_encoder
from encoders.errors import EncoderError
from encoders.huggingface_frames import frame_settings
from tests.encoders.tiny_models import FRAMES, MAKERS, cropped, frames_for, tiny


@pytest.mark.parametrize("kind", MAKERS)
def test_features_equal_those_of_the_librarys_own_way(kind, tmp_path):
    model = tiny(kind)
    encoder = load_encoder(f"hf:{model.save(tmp_path / kind)}", precision="fp32", device="cpu")
    frames = frames_for(encoder)
    expected = model.features(frames)
    assert expected.std(0).max() > 1e-3, "the features must tell snippets apart"
    torch.testing.assert_close(encoder.encode(cropped(encoder, frames)), expected, atol=1e-5, rtol=1e-5)
    clips = kind in ("videomae", "vjepa2", "timesformer", "vivit", "xclip")
    taken = (FRAMES, 64, "clip") if clips else (3, 16, "frames")
    assert (encoder.spec.num_frames, encoder.spec.window_frames, encoder.spec.layout) == taken
    assert encoder.spec.name == f"hf:{kind}" and not encoder.weights.random


@pytest.mark.parametrize("kind", ["clip", "dinov3_vit", "videomae", "xclip"])
def test_half_precision_passes_the_check_of_the_start(kind, tmp_path):
    model = tiny(kind)
    encoder = load_encoder(f"hf:{model.save(tmp_path / kind)}", precision="auto", device="cpu")
    frames = frames_for(encoder)
    cosine = torch.nn.functional.cosine_similarity(encoder.encode(cropped(encoder, frames)), model.features(frames))
    assert encoder.precision in ("fp32", "bf16") and cosine.min() > 0.998


def test_pooling_is_the_one_that_is_named(tmp_path):
    model = tiny("dinov3_vit")
    folder = model.save(tmp_path / "model")
    encoder = load_encoder(f"hf:{folder}", pool="mean", precision="fp32", device="cpu")
    frames = frames_for(encoder, batch=1)
    with torch.inference_mode():
        pixels = model.processor(images=list(frames[0].numpy()), return_tensors="pt").pixel_values
        tokens = model.model(pixels).last_hidden_state  # a class token, 2 registers, 16 patches
    assert tokens.shape[1] == 19
    torch.testing.assert_close(encoder.encode(frames)[0], tokens[:, 3:].mean((0, 1)), atol=1e-5, rtol=1e-5)
    assert encoder.spec.as_dict()["pool"] == "mean"


def test_clip_without_its_projection_gives_the_pooled_output_of_its_vision_part(tmp_path):
    model = tiny("clip")
    encoder = load_encoder(f"hf:{model.save(tmp_path / 'model')}", pool="pooler", precision="fp32", device="cpu")
    frames = frames_for(encoder, batch=1)
    with torch.inference_mode():
        pixels = model.processor(images=list(frames[0].numpy()), return_tensors="pt").pixel_values
        expected = model.model.vision_model(pixels).pooler_output.mean(0)
    torch.testing.assert_close(encoder.encode(cropped(encoder, frames))[0], expected, atol=1e-5, rtol=1e-5)


def test_random_weights_need_no_weight_file(tmp_path):
    folder = tiny("videomae").save(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    first, second = (
        load_encoder(f"hf:{folder}", weights="random", seed=3, precision="fp32", device="cpu") for _ in range(2)
    )
    frames = cropped(first, frames_for(first))
    torch.testing.assert_close(first.encode(frames), second.encode(frames), rtol=0, atol=0)
    assert first.weights.random and first.weights.sha256 == second.weights.sha256


def test_a_processors_numbers_become_one_mean_and_deviation_of_bytes():
    # ViViT: bytes / 127.5 - 1, then (x - 0.5) / 0.25; so (x / 255 - 0.75) / 0.125.
    processor = SimpleNamespace(
        do_resize=True, size={"shortest_edge": 36}, resample=3, do_center_crop=True,
        crop_size={"height": 32, "width": 32},
        do_rescale=True, rescale_factor=1 / 127.5, do_normalize=True, image_mean=[0.5] * 3, image_std=[0.25] * 3,
    )  # fmt: skip
    found = frame_settings(processor, name="m", offset=True)
    assert found == {
        "short_side": 36, "crop_size": 32, "fixed_size": None, "interpolation": "bicubic",
        "mean": pytest.approx((0.75,) * 3), "std": pytest.approx((0.125,) * 3),
    }  # fmt: skip
    processor.offset = False
    assert frame_settings(processor, name="m", offset=True)["mean"] == pytest.approx((0.25,) * 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"do_resize": False}, "do_resize of m's processor must be true, got False"),
        ({"resample": 0}, "resample of m's processor must be 2"),
        ({"size": {"longest_edge": 9}}, "size of m's processor must be a shortest_edge, or height and width"),
        ({"crop_size": {"height": 32, "width": 24}}, "crop_size of m's processor must be a square"),
        ({"do_center_crop": False}, "size of m's processor must be a square, where there is no center crop"),
        ({"do_pad": True}, "do_pad of m's processor must be false"),
    ],
)
def test_preparations_without_an_equal_here_are_refused(changes, words):
    settings = {"do_resize": True, "size": {"shortest_edge": 36}, "resample": 2, "do_center_crop": True}
    settings |= {"crop_size": 32, "do_rescale": False, "do_normalize": False} | changes
    with pytest.raises(EncoderError, match=words):
        frame_settings(SimpleNamespace(**settings), name="m", offset=False)
