"""Users' own networks, out-of-memory errors, and compilation."""

from dataclasses import replace

import pytest
import torch

from encoders.catalog import CATALOG, catalog_entry
from encoders.encoder import Encoder, load_encoder
from encoders.errors import EncoderError
from encoders.weights import WeightsInfo

OWN = """
import torch
from encoders.spec import EncoderSpec

class Mean(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv3d(3, 4, 1)
        torch.nn.init.constant_(self.conv.weight, 0.5)
        torch.nn.init.constant_(self.conv.bias, 1.0)

    def forward(self, clips):
        return self.conv(clips).mean(dim=(2, 3, 4))

def mine():
    spec = EncoderSpec(
        name="mine", version=1, feature_dim=4, num_frames=2, window_frames=8, fps=30.0, short_side=8, crop_size=8,
        mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), layout="clip", source="a test",
    )
    return spec, Mean()

def wrong_size():
    spec, network = mine()
    return EncoderSpec(**{**spec.as_dict(), "mean": (0, 0, 0), "std": (1, 1, 1), "feature_dim": 5}), network

def no_pair():
    return 3

def failing():
    raise KeyError("weights")
"""


@pytest.fixture
def own_file(tmp_path):
    path = tmp_path / "my_encoders.py"
    path.write_text(OWN)
    return path


def test_own_network_is_used_with_its_own_weights(own_file):
    encoder = load_encoder(f"{own_file}:mine", precision="fp32", device="cpu")
    assert encoder.spec.name == "mine" and encoder.weights.name == "own" and not encoder.weights.random
    snippets = torch.full((3, 2, 8, 8, 3), 51, dtype=torch.uint8)
    # 51 / 255 = 0.2; 0.5 * (0.2 + 0.2 + 0.2) + 1 = 1.3
    torch.testing.assert_close(encoder.encode(snippets), torch.full((3, 4), 1.3))


def test_own_network_takes_a_weight_file_of_its_state_dict(own_file, tmp_path):
    network = catalog_entry(f"{own_file}:mine").build()
    torch.nn.init.zeros_(network.conv.weight)
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    encoder = load_encoder(f"{own_file}:mine", weights=str(tmp_path / "mine.pth"), precision="fp32", device="cpu")
    snippets = torch.full((1, 2, 8, 8, 3), 51, dtype=torch.uint8)
    torch.testing.assert_close(encoder.encode(snippets), torch.ones(1, 4))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("min", r"no function 'min'; did you mean mine\?"),
        ("no_pair", r"must return \(EncoderSpec, module\), got int"),
        ("failing", r"failing\(\) of .* failed: KeyError"),
    ],
)
def test_own_files_that_do_not_fit_say_why(own_file, name, words):
    with pytest.raises(EncoderError, match=words):
        load_encoder(f"{own_file}:{name}")


def test_absent_or_broken_own_files_are_named(tmp_path):
    with pytest.raises(EncoderError, match="does not exist"):
        load_encoder(f"{tmp_path}/none.py:mine")
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    with pytest.raises(EncoderError, match=r"broken\.py failed: ModuleNotFoundError"):
        load_encoder(f"{tmp_path}/broken.py:mine")


def test_features_of_another_dimension_than_the_spec_says_are_an_error(own_file):
    encoder = load_encoder(f"{own_file}:wrong_size", precision="fp32", device="cpu")
    with pytest.raises(EncoderError, match=r"shape \[2, 4\], its spec says \[2, 5\]"):
        encoder.encode(torch.zeros((1, 2, 8, 8, 3), dtype=torch.uint8))


def encoder_with_room_for(snippets: int, batch_size: int) -> Encoder:
    """Return an encoder whose device holds a limited number of snippets at a time."""

    def network(batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > snippets:
            raise torch.OutOfMemoryError("out of memory")
        return batch.float().mean(dim=(1, 2, 3))

    spec = replace(CATALOG["i3d_r50"].spec, feature_dim=3, short_side=8, crop_size=8)
    info = WeightsInfo(name="own", path=None, url=None, sha256="0" * 64, random=False, seed=None)
    device = torch.device("cpu")
    return Encoder(network=network, spec=spec, weights=info, device=device, precision="fp32", batch_size=batch_size)


def test_out_of_memory_halves_the_batch_and_goes_on():
    encoder = encoder_with_room_for(3, batch_size=8)
    snippets = torch.randint(0, 256, (11, 8, 8, 8, 3), dtype=torch.uint8)
    features = encoder.encode(snippets)
    torch.testing.assert_close(features, snippets.float().mean(dim=(1, 2, 3)))
    assert encoder.batch_size == 2
    assert [note for note in encoder.notes if "batch size is now" in note][-1].endswith("2")


def test_out_of_memory_with_one_snippet_is_an_error():
    with pytest.raises(EncoderError, match="does not fit into the memory of cpu"):
        encoder_with_room_for(0, batch_size=2).encode(torch.zeros((1, 8, 8, 8, 3), dtype=torch.uint8))


def test_cuda_asked_for_and_absent_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EncoderError, match="device cuda is not available: there are 0 CUDA devices"):
        load_encoder("tsn_r50", weights="random", device="cuda")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "gpu"}, "device must be auto, cpu, cuda"),
        ({"precision": "int8", "device": "cpu"}, "precision must be one of auto, fp32, bf16, fp16, got 'int8'"),
        ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
    ],
)
def test_options_that_are_not_there_are_refused(options, words):
    with pytest.raises(EncoderError, match=words):
        load_encoder("tsn_r50", weights="random", **options)


@pytest.mark.slow
def test_compiled_features_equal_the_plain_ones():
    entry = CATALOG["i3d_r50"]
    entry = replace(entry, spec=replace(entry.spec, short_side=64, crop_size=64))
    plain = load_encoder(entry, weights="random", precision="fp32", device="cpu", batch_size=1)
    fast = load_encoder(entry, weights="random", precision="fp32", device="cpu", batch_size=1, compile=True)
    snippets = torch.randint(0, 256, (3, 8, 64, 64, 3), dtype=torch.uint8)
    torch.testing.assert_close(fast.encode(snippets), plain.encode(snippets), rtol=1e-4, atol=1e-4)
    assert any(note.startswith("compiled in") for note in fast.notes)
