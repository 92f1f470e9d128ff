"""Models of transformers and timm as encoders, from video files to features and detections."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from encoders.errors import EncoderError
from pipeline.config import LocalizeConfig
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.stages.extract import extract
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from pipeline.video.write import write_video
from tests.encoders.hub_folders import COMMIT, cache_in, put_repository
from tests.encoders.tiny_models import SIDE, tiny
from tests.pipeline.stages.test_localize import TINY, write_annotations

FRAMES = 90


@pytest.fixture
def videos(tmp_path):
    """Two videos as high as scaled frames are, so that nothing is scaled; a square wanders through each."""
    for seed, name in enumerate(("a", "b")):
        pictures = np.random.default_rng(seed).integers(0, 60, (FRAMES, SIDE, 60, 3), dtype=np.uint8)
        for number, picture in enumerate(pictures):
            picture[4 + number % 20 : 20 + number % 20, number % 40 : number % 40 + 16] += 180
        path = tmp_path / "videos" / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        write_video(path, iter(pictures), height=SIDE, width=60, fps=Fraction(30))
    return tmp_path / "videos"


def decoded(path) -> torch.Tensor:
    with av.open(str(path)) as container:
        return torch.stack([torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)])


def settings(encoder: str, **options) -> ExtractConfig:
    values = {"window_frames": 8, "stride_frames": 8, "precision": "fp32", "device": "cpu", "workers": 1}
    return ExtractConfig(encoder=encoder, **(values | options))


# Of a window of 8 frames, those in the middle of 4 and of 3 equal parts.
@pytest.mark.parametrize(("kind", "taken"), [("videomae", [1, 3, 5, 7]), ("clip", [1, 4, 6])])
def test_rows_of_a_video_equal_the_librarys_features_of_its_frames(kind, taken, videos, tmp_path):
    model = tiny(kind)
    store, _ = extract([videos], tmp_path / "store", settings(f"hf:{model.save(tmp_path / kind)}"))
    frames = decoded(videos / "a.mp4")
    snippets = torch.stack([frames[[first + place for place in taken]] for first in range(0, FRAMES - 8, 8)])
    rows = torch.from_numpy(np.array(store.read("a").features))
    torch.testing.assert_close(rows[: len(snippets)], model.features(snippets), atol=1e-5, rtol=1e-5)


def test_a_store_states_its_model_and_refuses_other_weights_and_pooling(videos, tmp_path, monkeypatch):
    cache = cache_in(tmp_path / "cache", monkeypatch)
    model = tiny("clip")
    snapshot = put_repository(cache, "team/clip", model.save(tmp_path / "clip"))
    store, _ = extract([videos / "a.mp4"], tmp_path / "store", settings("hf:team/clip"))
    assert store.spec.encoder["name"] == f"hf:team/clip@{COMMIT}"
    assert (store.spec.encoder["pool"], store.spec.encoder["interpolation"]) == ("embed", "bicubic")
    with pytest.raises(PipelineError, match=r"encoder\.pool"):
        extract([videos], tmp_path / "store", settings("hf:team/clip", pool="mean"))
    with torch.no_grad():
        model.model.visual_projection.weight.mul_(2)
    model.save(snapshot)
    with pytest.raises(PipelineError, match=r"weights\.sha256"):
        extract([videos], tmp_path / "store", settings("hf:team/clip"))


def test_a_model_finds_its_encoder_in_the_cache_or_where_it_is_told(videos, tmp_path, monkeypatch):
    cache = cache_in(tmp_path / "cache", monkeypatch)
    folder = tiny("videomae").save(tmp_path / "tiny")
    put_repository(cache, "team/tiny", folder)
    write_annotations(tmp_path / "annotations.json", a="training", b="validation")
    for name, encoder in (("cached", "hf:team/tiny"), ("folder", f"hf:{folder}")):
        store, _ = extract([videos], tmp_path / name, settings(encoder))
        train(store, tmp_path / "annotations.json", tmp_path / f"model_{name}", TINY)
        model = load_model(tmp_path / f"model_{name}")
        expected = localize([store.path], model, LocalizeConfig()).detections
        where = None if name == "cached" else encoder
        assert localize([videos], model, LocalizeConfig(encoder=where)).detections == expected
    with pytest.raises(EncoderError, match="model folder tiny does not exist"):
        localize([videos], model, LocalizeConfig())


def test_timm_from_a_file_of_weights_is_found_again_where_it_is_told(videos, tmp_path):
    import timm

    torch.save(timm.create_model("test_vit", pretrained=False).state_dict(), tmp_path / "mine.pth")
    config = settings("timm:test_vit", weights=str(tmp_path / "mine.pth"))
    store, _ = extract([videos], tmp_path / "store", config)
    assert store.spec.weights["name"] == "mine.pth"
    write_annotations(tmp_path / "annotations.json", a="training", b="validation")
    train(store, tmp_path / "annotations.json", tmp_path / "model", TINY)
    model = load_model(tmp_path / "model")
    with pytest.raises(PipelineError, match=r"weights from a file, mine\.pth .*--weights FILE"):
        localize([videos], model, LocalizeConfig())
    found = localize([videos], model, LocalizeConfig(weights=str(tmp_path / "mine.pth")))
    assert found.detections == localize([store.path], model, LocalizeConfig()).detections
