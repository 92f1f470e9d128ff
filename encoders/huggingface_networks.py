"""Models of transformers as networks that take normalized frames and return one vector each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from encoders.errors import EncoderError, reason_of
from encoders.hub import Snapshot

SHOWN = 4

Call = Callable[[Any, Tensor], Any]

# How each type is called; the others take pixel_values.
_CALLS: dict[str, Call] = {"vjepa2": lambda model, clips: model(pixel_values_videos=clips, skip_predictor=True)}
_EMBEDS: dict[str, Call] = {
    "xclip": lambda model, clips: model.get_video_features(pixel_values=clips),
    "clip": lambda model, frames: model.get_image_features(pixel_values=frames),
    "siglip": lambda model, frames: model.get_image_features(pixel_values=frames),
}
_DUAL = ("xclip", "clip", "siglip")  # with a part for text
_CLIPS = ("videomae", "vjepa2", "timesformer", "vivit", "xclip")


class PooledTokens(nn.Module):
    """A model of transformers, and the way from its output to one vector.

    Args:
        model: of transformers.
        call: calls it with frames [B, 3, H, W] or clips [B, F, 3, H, W].
        is_clip: whether it takes clips.
        pool: "embed", "pooler", "cls" or "mean".
        before: number of tokens before those of the patches.
    """

    def __init__(self, model: Any, call: Call, *, is_clip: bool, pool: str, before: int) -> None:
        super().__init__()
        self.model = model
        self.call, self.is_clip, self.pool, self.before = call, is_clip, pool, before

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features float32 [B, C].

        Args:
            pixels: normalized frames [B, 3, H, W], or clips [B, 3, F, H, W].
        """
        output = self.call(self.model, pixels.transpose(1, 2) if self.is_clip else pixels)
        if self.pool in ("embed", "pooler"):
            return (output if isinstance(output, Tensor) else output.pooler_output).float()
        tokens = output.last_hidden_state
        return tokens[:, 0].float() if self.pool == "cls" else tokens[:, self.before :].mean(1, dtype=torch.float32)


def build_network(model: Any, *, kind: str, pool: str, before: int) -> nn.Module:
    """Return the part of a model that sees frames, with its pooling.

    Args:
        model: of transformers.
        kind: its model_type.
        pool: as in `PooledTokens`.
        before: as in `PooledTokens`.
    """
    call = _CALLS.get(kind, lambda model, pixels: model(pixel_values=pixels))
    if kind in _DUAL and pool == "embed":
        model.text_model = None  # never called, and half of the memory
        call = _EMBEDS[kind]
    elif kind in _DUAL:
        model = model.vision_model
    elif kind == "vjepa2":
        model.predictor = None
    return PooledTokens(model, call, is_clip=kind in _CLIPS, pool=pool, before=before)


def read_model(snapshot: Snapshot, *, unused: tuple[str, ...] = ()) -> Any:
    """Return a model with its weights in float32, from safetensors alone.

    Args:
        snapshot: its files.
        unused: beginnings of the names of weights that may be missing, since nothing reads them.

    Raises:
        EncoderError: the files are damaged, or lack weights that the model needs.
    """
    from transformers import AutoModel

    try:
        model, report = AutoModel.from_pretrained(
            snapshot.folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:
        # safetensors, torch and transformers raise many types on damaged files.
        raise EncoderError(
            f"weights of {snapshot.name} in {snapshot.folder} could not be read: {reason_of(error)}"
        ) from error
    # transformers would draw these at random and only remark on it.
    wrong = sorted(map(str, [*report["missing_keys"], *report.get("mismatched_keys", ())]))
    wrong = [name for name in wrong if not name.startswith(unused)] if unused else wrong
    if wrong:
        more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise EncoderError(
            f"weights of {snapshot.name} in {snapshot.folder} do not fit its configuration: missing or of another "
            f"shape are {', '.join(wrong[:SHOWN])}{more}"
        )
    return model
