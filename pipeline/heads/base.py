"""The interface of every localization head for training and detection."""

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.heads.blocks import Standardize
from pipeline.heads.candidates import Candidates
from pipeline.heads.config import HeadConfig
from pipeline.heads.targets import SegmentTargets
from sola.device import sent


class Head(nn.Module):
    """A network that locates actions in feature sequences of any length T >= 1.

    Coordinates are in snippets: row i of the input has its center at i. Each head has its own output type: `forward`
    returns it, `loss` and `candidates` take it.

    Args:
        channels: C of the features.
        num_classes: K.
        config: the network's options.
    """

    def __init__(self, channels: int, num_classes: int, config: HeadConfig) -> None:
        super().__init__()
        if channels < 1 or num_classes < 1:
            raise PipelineError(f"channels and num_classes must be >= 1, got {channels} and {num_classes}")
        self.channels, self.num_classes, self.config = channels, num_classes, config
        self.standardize = Standardize(channels)
        self.register_load_state_dict_pre_hook(_rename_weights_of_0_1)

    def set_input_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Standardize every later input by these channel statistics, [C] each."""
        self.standardize.set(mean, std)

    def forward(self, features: Tensor, mask: Tensor) -> Any:
        """Return the head's outputs; values under padding do not affect the valid part.

        Args:
            features: [B, T, C] float32, T >= 1.
            mask: [B, T] bool, True where a row is a snippet, False where it is padding at the end. In training it is
                on the CPU, so that `loss` can select by it without waiting for a GPU.
        """
        raise NotImplementedError

    def loss(self, outputs: Any, targets: Sequence[SegmentTargets]) -> dict[str, Tensor]:
        """Return named scalars; training minimizes their sum.

        Args:
            outputs: from `forward`.
            targets: one for each row of the batch, segments in snippets; on the device of the mask.
        """
        raise NotImplementedError

    def candidates(self, outputs: Any, *, min_score: float) -> list[Candidates]:
        """Return the candidates of each sequence: segments in snippets with class and score >= `min_score`."""
        raise NotImplementedError

    def _prepare(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the standardized features [B, C, T], 0 under padding, and the mask as [B, 1, T] float."""
        if features.ndim != 3 or features.shape[2] != self.channels or features.shape[1] < 1:
            raise PipelineError(
                f"features must be [B, T, {self.channels}] with T >= 1, got {list(features.shape)}; "
                "the head was made for another encoder or the sequence is empty"
            )
        # where, not a product: padding may hold NaN.
        mask = sent(mask, features.device)
        x = self.standardize(features).where(mask[..., None], 0.0).transpose(1, 2)
        return x, mask[:, None].to(features.dtype)


def current_weight_name(name: str) -> str:
    """Return the name that a weight has now; version 0.1 spelled one module in British."""
    return re.sub(r"(^|\.)standardise\.", r"\1standardize.", name)


def _rename_weights_of_0_1(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}standardise.")]:
        state[current_weight_name(name)] = state.pop(name)
