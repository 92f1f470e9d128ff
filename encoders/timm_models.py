"""Models of timm as encoders of single frames: timm:NAME, averaged over the frames of a snippet as in a TSN."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.entry import CatalogEntry
from encoders.errors import EncoderError, reason_of
from encoders.hub import WEIGHTS, find_snapshot, require
from encoders.layouts import Layout
from encoders.spec import INTERPOLATIONS, EncoderSpec
from encoders.weights import WeightsInfo, file_sha256

if TYPE_CHECKING:
    from torch import nn

PREFIX = "timm:"
POOLS = {"mean": "avg", "cls": "token", "max": "max"}  # our words for timm's global_pool

# No data configuration of pictures states these; as the TSN of the list.
FPS = 30.0
NUM_FRAMES, WINDOW_FRAMES = 3, 16


@dataclass(frozen=True)
class _Model:
    """A model of timm: its name there, and timm's word for its pooling or None for its own."""

    name: str
    pool: str | None

    def build(self, file: Path | None = None) -> Any:
        """Return the network without its classifier, with the weights of a safetensors file or none."""
        import timm

        # With all of its classes, so that timm compares the file's names strictly.
        overlay = {"file": str(file)} if file is not None else None
        model: Any = timm.create_model(self.name, pretrained=file is not None, pretrained_cfg_overlay=overlay)
        if self.pool is None:
            model.reset_classifier(0)
        else:
            model.reset_classifier(0, self.pool)
        return model.eval()

    def load(self) -> tuple[nn.Module, WeightsInfo]:
        """Return the network with its published weights, from the hub or its cache."""
        import timm

        published = timm.get_pretrained_cfg(self.name)
        repository = getattr(published, "hf_hub_id", None)
        if not repository:
            raise EncoderError(f"timm has no weights for {self.name} on the hub; give a file with --weights FILE")
        named = getattr(published, "hf_hub_filename", None) or WEIGHTS
        if not named.endswith(".safetensors"):
            raise EncoderError(f"the weights of {self.name} are a pickle ({named} in {repository}), which is not read")
        path = find_snapshot(repository, files=[(named,)]).folder / named
        try:
            network = self.build(path)
        except Exception as error:
            # safetensors, torch and timm raise many types on damaged files.
            raise EncoderError(f"weights file {path} could not be read: {reason_of(error)}") from error
        sha256 = file_sha256(path)
        return network, WeightsInfo(name="own", path=str(path), url=None, sha256=sha256, random=False, seed=None)


def timm_entry(name: str, *, pool: str | None = None) -> CatalogEntry:
    """Return the entry of a model of timm; frames are prepared as its own data configuration says.

    Args:
        name: timm:NAME, with or without the tag of its weights; the spec's name has it.
        pool: "mean" of all places or patches, "cls" token or "max"; None: the model's own.

    Raises:
        EncoderError: timm is not installed, has no such model, or the model does not pool so.
    """
    require("timm", "timm")
    import timm

    wanted = name.removeprefix(PREFIX)
    if not timm.is_model(wanted):
        close = difflib.get_close_matches(wanted.split(".")[0], timm.list_models(), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise EncoderError(f"timm has no model {wanted!r:.60}{hint} (a file of weights is given with --weights FILE)")
    if pool is not None and pool not in POOLS:
        raise EncoderError(f"pool must be one of {', '.join(POOLS)}, got {pool!r}")
    model = _Model(wanted, POOLS[pool] if pool else None)
    network = _tried(model, pool)
    published = network.pretrained_cfg
    tag = published.get("tag")
    full = f"{published['architecture']}.{tag}" if tag else published["architecture"]
    heads = published.get("classifier") or ()
    layout = Layout(
        f"timm {published['architecture']}",
        next(iter(network.state_dict())),
        tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads)),
    )
    spec = EncoderSpec(
        name=f"{PREFIX}{full}",
        version=1,
        feature_dim=int(getattr(network, "head_hidden_size", None) or network.num_features),
        num_frames=NUM_FRAMES,
        window_frames=WINDOW_FRAMES,
        fps=FPS,
        layout="frames",
        pool=pool,
        source=f"timm, {full}",
        **_frame_settings(network, full),
    )
    return CatalogEntry(spec=spec, build=model.build, layouts=(layout,), published={}, own=True, load=model.load)


def _tried(model: _Model, pool: str | None) -> Any:
    """Return the network without memory for its weights; raise EncoderError if it has no such pooling."""
    import torch

    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return model.build()
    except (AssertionError, TypeError, ValueError, RuntimeError, NotImplementedError, AttributeError) as error:
        asked = f" with pool {pool}" if pool else ""
        raise EncoderError(f"timm cannot make {model.name}{asked}: {reason_of(error)}") from error


def _frame_settings(network: Any, name: str) -> dict[str, Any]:
    """Return the fields of an `EncoderSpec` that a model's data configuration states."""
    import timm

    data = timm.data.resolve_model_data_config(network)
    _, height, width = data["input_size"]
    if height != width:
        raise EncoderError(f"input_size of {name} must be a square, got {data['input_size']}")
    if data["crop_mode"] not in ("center", "squash"):
        raise EncoderError(f"crop_mode of {name} must be center or squash, got {data['crop_mode']!r}")
    if data["interpolation"] not in INTERPOLATIONS:
        raise EncoderError(f"interpolation of {name} must be one of {', '.join(INTERPOLATIONS)}")
    scaled = math.floor(height / data["crop_pct"])
    return {
        "short_side": scaled,
        "crop_size": height,
        "fixed_size": (scaled, scaled) if data["crop_mode"] == "squash" else None,
        "mean": tuple(data["mean"]),
        "std": tuple(data["std"]),
        "interpolation": data["interpolation"],
    }
