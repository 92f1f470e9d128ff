"""A small, exact stand-in for an encoder, so that tests of the stages take no time in a network."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import torch

from encoders.spec import EncoderSpec
from encoders.weights import WeightsInfo
from pipeline.extraction.config import ExtractConfig
from pipeline.store.spec import StoreSpec

TOY_SPEC = EncoderSpec(
    name="toy",
    version=1,
    feature_dim=6,
    num_frames=4,
    window_frames=8,
    fps=10.0,
    short_side=32,
    crop_size=32,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    layout="frames",
    source="mean color of the first and of the last frame of a snippet",
)


class ToyEncoder:
    """Six numbers a snippet: mean R, G, B of its first and of its last frame, from 0 to 1."""

    def __init__(self, batch_size: int = 4) -> None:
        self.spec = TOY_SPEC
        self.weights = WeightsInfo(name="toy", path=None, url=None, sha256="0" * 64, random=False, seed=None)
        self.precision = "fp32"
        self.device = torch.device("cpu")
        self.batch_size = batch_size
        self.notes: tuple[str, ...] = ()
        self.encoded = 0

    def encode(self, snippets: torch.Tensor) -> torch.Tensor:
        assert snippets.dtype == torch.uint8
        assert snippets.shape[1:] == (4, 32, 32, 3)
        self.encoded += len(snippets)
        ends = snippets[:, [0, -1]].double().mean(dim=(2, 3)) / 255
        return ends.reshape(-1, 6).float()

    def begin(self, snippets: torch.Tensor) -> Callable[[], torch.Tensor]:
        features = self.encode(snippets)
        return lambda: features


def use_toy_encoder(monkeypatch, **changes) -> ToyEncoder:
    """Makes every stage that opens an encoder open this one."""
    encoder = ToyEncoder()
    for name, value in changes.items():
        setattr(encoder, name, value)

    def open_toy(config: ExtractConfig, *, weights_sha256: str | None = None) -> tuple[ToyEncoder, StoreSpec]:
        return encoder, toy_store_spec(config)

    for module in ("pipeline.stages.extract", "pipeline.detection.locator", "pipeline.extraction.in_memory"):
        monkeypatch.setattr(f"{module}.open_encoder", open_toy)
    monkeypatch.setattr("pipeline.detection.locator.published_weights", lambda _: ("toy",))
    return encoder


def toy_store_spec(config: ExtractConfig) -> StoreSpec:
    plan = config.plan(TOY_SPEC)
    if config.stride_frames is None and config.stride_seconds is None:
        plan = replace(plan, stride_frames=Fraction(4))
    return StoreSpec(
        channels=6,
        dtype=config.dtype,
        plan=plan,
        encoder=TOY_SPEC.as_dict(),
        weights={"name": "toy", "sha256": "0" * 64, "random": False, "seed": None},
        precision="fp32",
        decoder=config.decoder,
    )


TOY_FLOW_SPEC = replace(
    TOY_SPEC,
    name="toy_flow",
    feature_dim=4,
    stack=2,
    modality="flow",
    mean=(0.0, 0.0),
    std=(1.0, 1.0),
    source="mean flow of all cells of a snippet and of its last",
)


class ToyFlowEncoder(ToyEncoder):
    """Four numbers a snippet: mean motion to the right and down, of all its cells and of the last, as bytes / 255."""

    def __init__(self, batch_size: int = 4) -> None:
        super().__init__(batch_size)
        self.spec = TOY_FLOW_SPEC
        self.weights = replace(self.weights, sha256="1" * 64)

    def encode(self, snippets: torch.Tensor) -> torch.Tensor:
        assert snippets.dtype == torch.uint8
        assert snippets.shape[1:] == (8, 32, 32, 2)
        self.encoded += len(snippets)
        pixels = snippets.double() / 255
        return torch.cat([pixels.mean(dim=(1, 2, 3)), pixels[:, -1].mean(dim=(1, 2))], dim=1).float()


def use_toy_streams(monkeypatch) -> dict[str, ToyEncoder]:
    """Makes "toy" an encoder that has a flow stream; returns the encoders by name."""
    encoders = {"toy": ToyEncoder(), "toy_flow": ToyFlowEncoder()}
    monkeypatch.setattr("pipeline.extraction.encoders.load_encoder", lambda name, **_: encoders[name])
    monkeypatch.setattr("pipeline.extraction.encoders.flow_variant", lambda name: f"{name}_flow")
    monkeypatch.setattr("pipeline.detection.locator.published_weights", lambda _: ("toy",))
    return encoders
