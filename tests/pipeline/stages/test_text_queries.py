"""`localize --query` with a tiny CLIP made from its configuration, from videos and from a store."""

import json

import pytest
import torch

from encoders.errors import EncoderError
from encoders.huggingface_text import embed_texts
from encoders.weights import file_sha256
from pipeline.cli import main
from pipeline.config import LocalizeConfig
from pipeline.errors import PipelineError
from pipeline.stages.extract import extract
from pipeline.stages.localize import localize
from pipeline.stages.text_queries import model_for, query_model
from tests.encoders.tiny_models import add_tokenizer, tiny
from tests.pipeline.stages.test_hub_encoders import settings, videos  # noqa: F401  (a fixture)

QUERIES = ["a square falls", "noise"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tiny("clip").save(tmp_path_factory.mktemp("models") / "clip")
    return add_tokenizer(folder)


def test_texts_get_the_librarys_vectors(clip):
    from transformers import AutoTokenizer

    model = tiny("clip").model
    tokens = AutoTokenizer.from_pretrained(clip)(QUERIES, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = model.get_text_features(**tokens).pooler_output
    sha256 = file_sha256(clip / "model.safetensors")
    vectors, scale = embed_texts(f"hf:{clip}", QUERIES, weights_sha256=sha256)
    torch.testing.assert_close(vectors, torch.nn.functional.normalize(expected), atol=1e-5, rtol=1e-5)
    assert scale == pytest.approx(float(model.logit_scale.detach().exp()))
    # Alone, without padding, a text has the same vector.
    alone, _ = embed_texts(f"hf:{clip}", QUERIES[1:], weights_sha256=sha256)
    torch.testing.assert_close(alone[0], vectors[1], atol=1e-5, rtol=1e-5)


def test_queries_give_the_same_detections_from_videos_and_from_a_store(clip, videos, tmp_path):  # noqa: F811
    config = LocalizeConfig(encoder=f"hf:{clip}", device="cpu")
    model = query_model([videos], QUERIES, config)
    found = localize([videos], model, config).detections
    assert set(found) == {"a", "b"} and {d.label for each in found.values() for d in each} <= set(QUERIES)
    sampling = {"window_frames": 16, "stride_frames": 16, "precision": "auto"}
    store, _ = extract([videos], tmp_path / "store", settings(f"hf:{clip}", **sampling))
    there = query_model([store.path], QUERIES, config)
    assert localize([store.path], there, config).detections == found
    assert there.identity == model.identity
    assert query_model([videos], QUERIES[:1], config).identity != model.identity


def test_the_command_writes_detections_and_says_that_it_is_a_baseline(clip, videos, tmp_path, capsys):  # noqa: F811
    words = ["localize", str(videos), "--encoder", f"hf:{clip}", "--query", *QUERIES, "--out", str(tmp_path / "d.json")]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    printed = capsys.readouterr()
    assert "text queries are a baseline without training" in printed.err
    found = json.loads((tmp_path / "d.json").read_text())["results"]
    assert set(found) == {"a", "b"}
    # The store knows its model's folder by name alone: the command takes --encoder for it, which has no effect else.
    sampling = {"window_frames": 16, "stride_frames": 16, "precision": "auto"}
    store, _ = extract([videos], tmp_path / "store", settings(f"hf:{clip}", **sampling))
    words[1], words[-1] = str(store.path), str(tmp_path / "again.json")
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert json.loads((tmp_path / "again.json").read_text())["results"] == found


def test_what_does_not_fit_is_refused(clip, videos, tmp_path):  # noqa: F811
    config = LocalizeConfig(encoder=f"hf:{clip}", device="cpu")
    with pytest.raises(PipelineError, match=r"give --model FOLDER; or, without training, .*--query TEXT"):
        model_for([videos], None, [], config)
    with pytest.raises(PipelineError, match="background needs --query"):
        model_for([videos], tmp_path, [], config, background="b")
    with pytest.raises(PipelineError, match="must be different texts"):
        query_model([videos], ["a", "a"], config)
    with pytest.raises(PipelineError, match="name an encoder of pictures and text"):
        query_model([videos], QUERIES, LocalizeConfig())
    with pytest.raises(EncoderError, match="a query must have at most 16 tokens, got 41"):
        query_model([videos], ["noise " * 40], config)
    plain = LocalizeConfig(encoder=f"hf:{tiny('dinov3_vit').save(tmp_path / 'dino')}", device="cpu")
    with pytest.raises(PipelineError, match="queries need plain features of hf:… with --pool embed"):
        query_model([videos], QUERIES, plain)
    with pytest.raises(EncoderError, match="are not those that made the features"):
        embed_texts(f"hf:{clip}", QUERIES, weights_sha256="0" * 64)
