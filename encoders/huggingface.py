"""Hugging Face models as encoders: hf:REPOSITORY_OR_FOLDER[@REVISION], safetensors only, no code of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from encoders.entry import CatalogEntry
from encoders.errors import EncoderError, reason_of
from encoders.hub import CONFIG, INDEX, PROCESSORS, WEIGHTS, Snapshot, find_snapshot, require
from encoders.huggingface_frames import frame_settings
from encoders.spec import EncoderSpec
from encoders.weights import WeightsInfo, file_sha256

if TYPE_CHECKING:
    from torch import nn

PREFIX = "hf:"

# What no configuration says, as for the Kinetics networks of the list: 30 frames a second, and a window of 64 of them
# (16 frames 4 apart, 32 frames 2 apart). Pictures are taken as a TSN takes them: 3 from a window of 16.
FPS = 30.0
WINDOW_FRAMES = 64
PICTURES, PICTURES_WINDOW_FRAMES = 3, 16


@dataclass(frozen=True)
class Family:
    """What the models of one type have in common.

    Args:
        pools: the ways to one vector, the model's own first. "embed" is the one that is compared with text, "pooler"
            the model's own pooling, "cls" its class token, "mean" the mean of all tokens of patches.
        frames: where the configuration names the number of frames; None for models of pictures.
        side: where it names the side of a frame, which the processor must give; None if any side fits.
        before: tokens before those of the patches, registers aside.
        part: the part of the configuration about vision; "" if it is all about vision.
    """

    pools: tuple[str, ...]
    frames: str | None = None
    side: str | None = "image_size"
    before: int = 0
    part: str = ""


FAMILIES = {
    "videomae": Family(("mean",), frames="num_frames"),
    "vjepa2": Family(("mean",), frames="frames_per_clip", side="crop_size"),
    "timesformer": Family(("cls", "mean"), frames="num_frames", before=1),
    "vivit": Family(("cls", "mean"), frames="num_frames", before=1),
    "xclip": Family(("embed",), frames="num_frames", part="vision_config"),
    "clip": Family(("embed", "pooler", "mean"), before=1, part="vision_config"),
    "siglip": Family(("embed", "mean"), part="vision_config"),
    "clip_vision_model": Family(("pooler", "mean"), before=1),
    "siglip_vision_model": Family(("pooler", "mean")),
    "dinov2": Family(("cls", "mean"), side=None, before=1),
    "dinov2_with_registers": Family(("cls", "mean"), side=None, before=1),
    "dinov3_vit": Family(("cls", "mean"), side=None, before=1),
}


@dataclass(frozen=True)
class _Model:
    """A model that was found: its files, its type, its configuration as transformers reads it, its pooling."""

    snapshot: Snapshot
    family: Family
    kind: str
    config: Any
    pool: str

    @property
    def vision(self) -> Any:
        return getattr(self.config, self.family.part) if self.family.part else self.config

    def around(self, model: Any) -> nn.Module:
        """Return a model of transformers as a network that takes normalized frames and returns [B, C]."""
        from encoders.huggingface_networks import build_network

        before = self.family.before + int(getattr(self.vision, "num_register_tokens", 0) or 0)
        return build_network(model, kind=self.kind, pool=self.pool, before=before).eval()

    def build(self) -> nn.Module:
        from transformers import AutoModel

        with quiet():
            return self.around(AutoModel.from_config(self.config, trust_remote_code=False))

    def load(self) -> tuple[nn.Module, WeightsInfo]:
        from encoders.huggingface_networks import read_model

        sha256 = self.snapshot.sha256()
        path = str(self.snapshot.weight_files()[0])
        with quiet():
            network = self.around(read_model(self.snapshot, unused=("pooler.",) if self.pool != "pooler" else ()))
        return network, WeightsInfo(name="own", path=path, url=None, sha256=sha256, random=False, seed=None)


def huggingface_entry(name: str, *, pool: str | None = None, weights: bool = True) -> CatalogEntry:
    """Return the entry of a Hugging Face model; its frames are prepared as its processor says.

    Args:
        name: hf:FOLDER, or hf:REPOSITORY[@REVISION]; the spec's name has the commit.
        pool: see `Family`; None: the model's own.
        weights: whether its weights are needed; False for random ones.

    Raises:
        EncoderError: transformers is not installed; the model is absent, of another type, or needs code of its own.
    """
    require("transformers", "transformers")
    needed: list[tuple[str, ...]] = [(CONFIG,), PROCESSORS]
    snapshot = find_snapshot(name.removeprefix(PREFIX), files=[*needed, (WEIGHTS, INDEX)] if weights else needed)
    model = _read(snapshot, pool)
    family, vision = model.family, model.vision
    processor = _processor(snapshot, is_video=family.frames is not None)
    settings = frame_settings(processor, name=snapshot.name, offset=model.kind == "vivit")
    _refuse_other_side(snapshot, family, vision, settings["crop_size"])
    frames = int(getattr(vision, family.frames)) if family.frames else PICTURES
    embedding = getattr(model.config, "projection_dim", None) if model.pool == "embed" else None
    spec = EncoderSpec(
        name=f"{PREFIX}{snapshot.name}",
        version=1,
        feature_dim=int(embedding or vision.hidden_size),
        num_frames=frames,
        window_frames=max(WINDOW_FRAMES, frames) if family.frames else PICTURES_WINDOW_FRAMES,
        fps=FPS,
        layout="clip" if family.frames else "frames",
        pool=model.pool,
        source=f"transformers, {model.kind}; SHA-256 of {CONFIG} {file_sha256(snapshot.folder / CONFIG)[:16]}",
        **settings,
    )
    return CatalogEntry(
        spec=spec, build=model.build, layouts=(), published={}, own=True, load=model.load if weights else None
    )


def _read(snapshot: Snapshot, pool: str | None) -> _Model:
    """Return the model that a configuration describes; its weights are not read."""
    from transformers import AutoConfig

    kind = str(snapshot.facts(CONFIG).get("model_type"))
    if kind not in FAMILIES:
        raise EncoderError(f"model {snapshot.name} must be of a type of {', '.join(FAMILIES)}, got {kind!r:.40}")
    family = FAMILIES[kind]
    chosen = pool or family.pools[0]
    if chosen not in family.pools:
        raise EncoderError(f"pool of {kind} must be one of {', '.join(family.pools)}, got {chosen!r}")
    with quiet(), told(snapshot):
        config = AutoConfig.from_pretrained(snapshot.folder, local_files_only=True, trust_remote_code=False)
    return _Model(snapshot, family, kind, config, chosen)


def _processor(snapshot: Snapshot, *, is_video: bool) -> Any:
    """Return the processor of frames; that for videos if the model's folder has one."""
    from transformers import AutoImageProcessor, AutoVideoProcessor

    there = [name for name in PROCESSORS if (snapshot.folder / name).is_file()]
    if not there:
        raise EncoderError(f"model {snapshot.name} has no {' or '.join(PROCESSORS)} in {snapshot.folder}")
    facts = {name: snapshot.facts(name) for name in there}
    for_videos = PROCESSORS[0] in facts or "video_processor" in facts.get(PROCESSORS[2], {})
    auto = AutoVideoProcessor if is_video and for_videos else AutoImageProcessor
    with quiet(), told(snapshot):
        return auto.from_pretrained(snapshot.folder, local_files_only=True, trust_remote_code=False)


def _refuse_other_side(snapshot: Snapshot, family: Family, vision: Any, crop: int) -> None:
    side = getattr(vision, family.side) if family.side else crop
    wanted = tuple(side) if isinstance(side, (list, tuple)) else (side, side)
    if wanted != (crop, crop):
        raise EncoderError(
            f"model {snapshot.name} takes frames of {wanted[0]}x{wanted[1]} pixels ({family.side}), its processor "
            f"gives {crop}x{crop}: correct the processor's configuration"
        )


@contextmanager
def told(snapshot: Snapshot) -> Iterator[None]:
    """Turn what transformers raises on damaged configurations into one line."""
    try:
        yield
    except Exception as error:
        # It raises OSError, ValueError, TypeError, KeyError and errors of its own checks.
        raise EncoderError(
            f"model {snapshot.name} in {snapshot.folder} could not be read: {reason_of(error)}"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing remarks and bars; what matters is raised."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
