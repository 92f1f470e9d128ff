"""Weight files: recognized by their keys, loaded completely or rejected with a reason."""

import hashlib
import io
import time
import urllib.error
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from encoders.catalog import CATALOG
from encoders.encoder import load_encoder, load_network
from encoders.errors import EncoderError
from encoders.layouts import load_into, recognize, unwrap
from encoders.weights import PublishedWeights, download, locate, read_file

models = pytest.importorskip("torchvision.models")
TSN = CATALOG["tsn_r50"]


@pytest.fixture(scope="module")
def resnet_state():
    """Return torchvision's ResNet-50 with a different value for each parameter."""
    state = models.resnet50(weights=None).state_dict()
    generator = torch.Generator().manual_seed(0)
    return {k: v if k.endswith("tracked") else torch.randn(v.shape, generator=generator) for k, v in state.items()}


def mmaction2_layout(state: dict) -> dict:
    """Return the same parameters by mmaction2's names, written out from its ConvModule structure."""
    renamed = {}

    def conv_module(ours: str, conv: str, norm: str) -> None:
        renamed[f"backbone.{ours}.conv.weight"] = state[f"{conv}.weight"]
        for key in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            renamed[f"backbone.{ours}.bn.{key}"] = state[f"{norm}.{key}"]

    conv_module("conv1", "conv1", "bn1")
    for layer, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            at = f"layer{layer}.{block}"
            for i in (1, 2, 3):
                conv_module(f"{at}.conv{i}", f"{at}.conv{i}", f"{at}.bn{i}")
        conv_module(f"layer{layer}.0.downsample", f"layer{layer}.0.downsample.0", f"layer{layer}.0.downsample.1")
    renamed["cls_head.fc_cls.weight"] = torch.zeros(400, 2048)
    return renamed


def assert_holds(path: Path, state: dict) -> None:
    network, _, info = load_network(TSN, weights=str(path))
    held = network.state_dict()
    assert held and all(torch.equal(held[k], state[k]) for k in held)
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (info.path, info.url, info.random, info.seed) == (str(path), None, False, None)


def test_torchvision_file_loads(tmp_path, resnet_state):
    torch.save(resnet_state, tmp_path / "a.pth")
    assert_holds(tmp_path / "a.pth", resnet_state)


def test_safetensors_file_loads(tmp_path, resnet_state):
    save_file(resnet_state, tmp_path / "a.safetensors")
    assert_holds(tmp_path / "a.safetensors", resnet_state)


def test_mmaction2_file_loads(tmp_path, resnet_state):
    torch.save({"state_dict": mmaction2_layout(resnet_state), "meta": {"epoch": 3}}, tmp_path / "a.pth")
    assert_holds(tmp_path / "a.pth", resnet_state)


def test_prefix_of_parallel_training_is_stripped_and_batch_counters_may_lack(tmp_path, resnet_state):
    state = {f"module.{k}": v for k, v in resnet_state.items() if not k.endswith("tracked")}
    torch.save({"model": state, "epoch": 3}, tmp_path / "a.pt")
    network, _, _ = load_network(TSN, weights=str(tmp_path / "a.pt"))
    assert torch.equal(network.state_dict()["layer4.2.conv3.weight"], resnet_state["layer4.2.conv3.weight"])


def test_c2d_r50_file_gives_the_features_of_its_own_network_and_normalization(tmp_path):
    hub = pytest.importorskip("pytorchvideo.models.hub")
    c2d = hub.c2d_r50(pretrained=False).eval()
    for module in c2d.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.2, 0.6)
            module.running_var.uniform_(0.5, 1.5)
    torch.save({"model_state": c2d.state_dict()}, tmp_path / "C2D.pyth")
    network, spec, _ = load_network(TSN, weights=str(tmp_path / "C2D.pyth"))
    assert spec.mean == (0.45,) * 3 and spec.std == (0.225,) * 3
    frames = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = frames[:, :, None]
        for index in (0, 1, 3, 4, 5):  # block 2 pools over time, and here is one frame
            features = c2d.blocks[index](features)
        expected = features.mean(dim=(2, 3, 4))
        torch.testing.assert_close(network(frames), expected, rtol=1e-4, atol=1e-4)


def test_missing_and_unexpected_keys_are_listed_with_the_expected_format(resnet_state):
    network = TSN.build()
    state = dict(resnet_state)
    state["layer1.0.conv9.weight"] = state.pop("layer4.2.conv3.weight")
    with pytest.raises(EncoderError) as error:
        load_into(network, state, TSN.layouts[0], where="weights file a.pth")
    text = str(error.value)
    assert "missing keys: layer4.2.conv3.weight" in text
    assert "unexpected keys: layer1.0.conv9.weight" in text
    assert "torchvision ResNet-50" in text


def test_unexpected_keys_alone_are_refused(resnet_state):
    state = {**resnet_state, "layer5.0.conv1.weight": torch.zeros(1)}
    with pytest.raises(EncoderError, match=r"missing keys: none; unexpected keys: layer5\.0\.conv1\.weight"):
        load_into(TSN.build(), state, TSN.layouts[0], where="file")


def test_long_lists_of_keys_are_cut_short(resnet_state):
    state = {k: v for k, v in resnet_state.items() if not k.startswith("layer4") or "tracked" in k}
    with pytest.raises(EncoderError, match=r"missing keys: layer4\.0\.conv1\.weight.*, and \d+ more"):
        load_into(TSN.build(), state, TSN.layouts[0], where="file")


def test_another_shape_is_refused(resnet_state):
    state = {**resnet_state, "conv1.weight": torch.zeros(64, 10, 7, 7)}
    with pytest.raises(EncoderError, match=r"conv1\.weight is \(64, 10, 7, 7\), expected \(64, 3, 7, 7\)"):
        load_into(TSN.build(), state, TSN.layouts[0], where="file")


def test_another_network_is_refused_with_all_formats_named():
    state = {"encoder.patch.weight": torch.zeros(1)}
    with pytest.raises(EncoderError) as error:
        recognize(state, TSN.layouts, where="weights file vit.pth")
    for word in ("vit.pth", "encoder.patch.weight", "torchvision", "mmaction2", "pytorchvideo c2d_r50"):
        assert word in str(error.value)


@pytest.mark.parametrize("content", [{"epoch": 3}, {"state_dict": {}}, torch.zeros(3), [1, 2]])
def test_files_without_named_tensors_are_refused(content):
    with pytest.raises(EncoderError, match="named tensors"):
        unwrap(content, where="weights file a.pth")


class Mischief:
    """An object that runs code when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("mischief"),))


def test_pickled_objects_are_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": torch.zeros(1)}, "hook": Mischief()}, "a.pth")
    with pytest.raises(EncoderError, match="could run code"):
        read_file(Path("a.pth"))
    assert not Path("mischief").exists()


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_damaged_files_are_refused_by_name(tmp_path, name, resnet_state):
    path = tmp_path / name
    state = {"conv1.weight": resnet_state["conv1.weight"]}
    save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(EncoderError, match=name):
        read_file(path)


def test_absent_weights_explain_themselves_within_seconds(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        assert 0 < kwargs["timeout"] <= 30
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    started = time.monotonic()
    with pytest.raises(EncoderError) as error:
        load_encoder("i3d_r50", device="cpu")
    assert time.monotonic() - started < 5
    folder = tmp_path / "hub" / "checkpoints"
    for word in ("I3D_8x8_R50.pyth", str(folder), "https://dl.fbaipublicfiles.com/", "not known"):
        assert word in str(error.value)
    assert list(folder.iterdir()) == []


def test_a_download_cut_short_leaves_nothing(tmp_path, monkeypatch):
    class Answer(io.BytesIO):
        headers = {"Content-Length": "100"}  # noqa: RUF012

    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: Answer(b"x" * 60))
    with pytest.raises(EncoderError, match="60 of 100 bytes"):
        download(PublishedWeights("https://example.org/w.pth", ""), tmp_path / "w.pth")
    assert list(tmp_path.iterdir()) == []


def test_a_published_file_is_fetched_once_and_checked_against_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    content = b"weights"
    good = tmp_path / f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    bad = tmp_path / "net-00000000.pth"
    for path in (good, bad):
        path.write_bytes(content)
    published = {p.name: PublishedWeights(p.as_uri(), "") for p in (good, bad)}
    path, source = locate(good.name, published)
    assert path.read_bytes() == content and source == published[good.name]
    good.unlink()
    assert locate(good.name, published)[0] == path  # from the cache
    with pytest.raises(EncoderError, match="must have a SHA-256 that starts with 00000000"):
        locate(bad.name, published)
    assert [p.name for p in path.parent.iterdir()] == [good.name]


@pytest.mark.parametrize(
    "form", ["{url}/net-{digest:.8}.pth", "{url}/net.pth#sha256={digest}", "{url}/n.pth#sha256={digest:.9}"]
)
def test_weights_at_an_address_are_checked_against_the_hash_that_it_promises(tmp_path, monkeypatch, form):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    content = b"weights"
    asked = []

    class Answer(io.BytesIO):
        headers = {}  # noqa: RUF012

    def answer(url, **_):
        asked.append(url)
        return Answer(content)

    monkeypatch.setattr("urllib.request.urlopen", answer)
    good = form.format(url="https://example.org/a", digest=hashlib.sha256(content).hexdigest())
    path, source = locate(good, {})
    assert path.read_bytes() == content
    assert asked == [good.split("#")[0]] == [source.url]
    path.unlink()
    bad = form.format(url="https://example.org/a", digest=hashlib.sha256(b"other").hexdigest())
    with pytest.raises(EncoderError, match="must have a SHA-256 that starts with"):
        locate(bad, {})
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://example.org/net.pth", r"must promise their SHA-256.*https://example.org/net.pth#sha256="),
        ("https://example.org/net.pth#sha256=abc", "must promise their SHA-256"),
        ("https://example.org/net-01234567.pth#md5=1", "must promise their SHA-256"),
        ("https://example.org/net.py#sha256=0123456789", "must end in the name of a"),
        ("https://example.org/..%2f.pth#sha256=0123456789", "must end in the name of a"),
        ("https://example.org/?file=a.pth#sha256=0123456789", "must end in the name of a"),
    ],
)
def test_addresses_without_a_hash_or_a_safe_file_name_are_refused_before_anything_is_fetched(
    monkeypatch, address, words
):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("fetched"))
    with pytest.raises(EncoderError, match=words):
        locate(address, {})


def test_a_cached_file_that_is_not_the_promised_one_is_refused(tmp_path, monkeypatch, resnet_state):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "net.pth"
    path.parent.mkdir(parents=True)
    torch.save(resnet_state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    address = f"https://example.org/net.pth#sha256={digest}"
    _, _, info = load_network(TSN, weights=address)
    assert (info.name, info.url, info.sha256) == (address, "https://example.org/net.pth", digest)
    with pytest.raises(EncoderError, match="starts with 0123456789"):
        load_network(TSN, weights="https://example.org/net.pth#sha256=0123456789")


def test_unknown_weights_offer_the_accepted_names():
    with pytest.raises(EncoderError, match=r"kinetics400, imagenet1k, random.*did you mean kinetics400"):
        locate("kinetic400", TSN.published)


def test_another_sha256_than_the_required_one_is_refused():
    with pytest.raises(EncoderError, match=r"have SHA-256 [0-9a-f]{64}, but 1234 is required"):
        load_encoder("tsn_r50", weights="random", weights_sha256="1234", device="cpu")
