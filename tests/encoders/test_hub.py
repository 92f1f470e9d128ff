"""Finding models of the hub: folders, the cache, and what is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from encoders.catalog import catalog_entry
from encoders.encoder import load_encoder
from encoders.errors import EncoderError
from encoders.loading import load_network
from encoders.trained import save_trained
from encoders.weights import file_sha256
from tests.encoders.hub_folders import COMMIT, cache_in, put_repository
from tests.encoders.tiny_models import frames_for, tiny


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return tiny("dinov3_vit").save(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the model that a test may damage."""
    return shutil.copytree(saved, tmp_path / "tiny")


def change(file, **facts):
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


@pytest.mark.parametrize("revision", ["", "@main", "@v1", f"@{COMMIT}"])
def test_a_repository_in_the_cache_is_recorded_with_its_commit(saved, tmp_path, monkeypatch, revision):
    cache = cache_in(tmp_path, monkeypatch)
    put_repository(cache, "team/tiny", saved, branch=revision[1:] if revision == "@v1" else "main")
    encoder = load_encoder(f"hf:team/tiny{revision}", device="cpu", precision="fp32")
    assert encoder.spec.name == f"hf:team/tiny@{COMMIT}"
    assert encoder.weights.sha256 == file_sha256(saved / "model.safetensors")
    # The recorded name finds the same files.
    assert load_encoder(encoder.spec.name, device="cpu", precision="fp32").spec == encoder.spec


def test_an_absent_repository_is_named_with_file_and_folder(saved, tmp_path, monkeypatch):
    cache = cache_in(tmp_path / "cache", monkeypatch)
    words = rf"model team/tiny \(revision v2\) is not in {cache} with config\.json, .* model\.safetensors"
    with pytest.raises(EncoderError, match=words):
        load_encoder("hf:team/tiny@v2", device="cpu")
    snapshot = put_repository(cache, "team/tiny", saved, branch="v2")
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match=words):
        load_encoder("hf:team/tiny@v2", device="cpu")


@pytest.mark.parametrize("place", ["/none/here", "./none", "none", "a/b/c", "../a/b", "a/b@../c"])
def test_what_is_neither_folder_nor_repository_is_refused(place):
    with pytest.raises(EncoderError, match=r"model folder .* does not exist; say where it is with --encoder hf:FOLDER"):
        load_encoder(f"hf:{place}", device="cpu")


def test_missing_files_are_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"model tiny has no model\.safetensors in "):
        load_encoder(f"hf:{folder}", device="cpu")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(EncoderError, match=r"model tiny has no .*preprocessor_config\.json"):
        load_encoder(f"hf:{folder}", device="cpu")
    (folder / "config.json").unlink()
    with pytest.raises(EncoderError, match=r"model tiny has no config\.json"):
        load_encoder(f"hf:{folder}", device="cpu")


def test_a_pickle_is_never_read(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    words = r"only as pytorch_model\.bin in .*; a pickle could run code and is never read: convert it to model\.safe"
    with pytest.raises(EncoderError, match=words):
        load_encoder(f"hf:{folder}", device="cpu")


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_code_of_its_own_is_never_run(folder, file, tmp_path):
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    change(folder / file, auto_map={"AutoModel": "code.Model", "AutoImageProcessor": "code.Processor"})
    with pytest.raises(EncoderError, match=rf"needs code of its own \({file} has auto_map\), which is never run"):
        load_encoder(f"hf:{folder}", device="cpu")
    assert not (tmp_path / "ran").exists()


def test_other_types_and_poolings_are_refused_with_those_that_are_known(folder):
    with pytest.raises(EncoderError, match="pool of dinov3_vit must be one of cls, mean, got 'embed'"):
        load_encoder(f"hf:{folder}", pool="embed", device="cpu")
    change(folder / "config.json", model_type="bert")
    with pytest.raises(EncoderError, match=r"must be of a type of videomae, .*, got 'bert'"):
        load_encoder(f"hf:{folder}", device="cpu")


def test_pool_is_refused_for_listed_encoders():
    with pytest.raises(EncoderError, match="pool is a choice of hf:… and timm:… alone"):
        load_encoder("tsn_r18", pool="mean", weights="random", device="cpu")


def test_weights_that_do_not_fit_are_not_drawn_at_random(folder):
    change(folder / "config.json", num_hidden_layers=3)
    with pytest.raises(EncoderError, match=r"do not fit its configuration: missing or of another shape are .*layer\.2"):
        load_encoder(f"hf:{folder}", device="cpu")


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"not safetensors"])
def test_damaged_weights_are_named(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(EncoderError, match=r"(weights file .*model\.safetensors is|weights of tiny in .* not be read)"):
        load_encoder(f"hf:{folder}", device="cpu")


@pytest.mark.parametrize("content", ["", "[]", '{"model_type": 3}', '{"model_type": "clip", "vision_config": 5}'])
def test_damaged_configurations_are_one_line(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(EncoderError) as caught:
        load_encoder(f"hf:{folder}", device="cpu")
    assert "\n" not in str(caught.value)


def test_a_model_in_several_files_has_one_hash_and_stays_in_its_folder(folder, saved):
    whole = load_encoder(f"hf:{saved}", device="cpu", precision="fp32")
    model = tiny("dinov3_vit").model
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="6KB")
    index = folder / "model.safetensors.index.json"
    shards = sorted(path for path in folder.glob("*.safetensors"))
    assert len(shards) > 1
    parts = load_encoder(f"hf:{folder}", device="cpu", precision="fp32")
    frames = frames_for(whole)
    torch.testing.assert_close(parts.encode(frames), whole.encode(frames), rtol=0, atol=0)
    save_file({name: value + 1 for name, value in load_file(shards[-1]).items()}, shards[-1], {"format": "pt"})
    with pytest.raises(EncoderError, match=f"but {parts.weights.sha256} is required"):
        load_encoder(f"hf:{folder}", device="cpu", weights_sha256=parts.weights.sha256)
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(EncoderError, match=r"must name \.safetensors files beside it"):
        load_encoder(f"hf:{folder}", device="cpu")


def test_a_given_hash_refuses_other_weights(saved):
    with pytest.raises(EncoderError, match=r"have SHA-256 .* but 1111 is required"):
        load_encoder(f"hf:{saved}", device="cpu", weights_sha256="1111")


def test_weights_from_a_file_are_refused_where_the_model_brings_them(saved):
    with pytest.raises(EncoderError, match="brings its weights; weights must be own, random"):
        load_encoder(f"hf:{saved}", weights="mine.pth", device="cpu")


def test_weights_that_were_trained_here_take_the_place_of_the_models_own(saved, tmp_path):
    entry = catalog_entry(f"hf:{saved}")
    network, spec, before = load_network(entry, weights="own")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.01
    save_trained(tmp_path / "trained.safetensors", network, spec, about={})
    found, carried, info = load_network(entry, weights=str(tmp_path / "trained.safetensors"))
    assert (carried, info.name) == (spec, "trained.safetensors") and info.sha256 != before.sha256
    for name, value in network.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)


def test_a_missing_package_is_named_with_its_extra(saved, monkeypatch):
    monkeypatch.setattr("encoders.hub.importlib.util.find_spec", lambda name: None)
    with pytest.raises(EncoderError, match=r'needs transformers: pip install "sola-pipeline\[transformers\]"'):
        load_encoder(f"hf:{saved}", device="cpu")
    with pytest.raises(EncoderError, match=r'needs timm: pip install "sola-pipeline\[timm\]"'):
        load_encoder("timm:resnet18", device="cpu")
