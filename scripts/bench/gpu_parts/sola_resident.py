"""A candidate for the fit on a GPU: all features are on the device, without measures or synchronization."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sola.config import SolaConfig
from sola.fit_state import new_fit_state
from sola.similarity import similarity_loss
from sola.sparse_forward import layer_weights


class Resident:
    """A fit, step by step; every tensor keeps its address, so that a CUDA graph can record a step.

    Args:
        precision: fp32, tf32 or bf16, of the matrix products.
    """

    def __init__(
        self, features: Tensor, config: SolaConfig, channels: int, precision: str, *, compiled: bool = False
    ) -> None:
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        self._fit_state = new_fit_state(channels, config)
        self._target = self._fit_state.target.float()
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self._features, device = features, features.device
        starts = torch.randint(len(features) - config.window_snippets, (config.batch_size,), device=device)
        self._rows = starts[:, None] + self._fit_state.plan.positions[0].to(device)
        parameters = [*self._fit_state.module.parameters(), *self._fit_state.predictor.parameters()]
        self._optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True, capturable=device.type == "cuda")
        self._loss = torch.compile(self._plain_loss) if compiled else self._plain_loss

    def step(self) -> Tensor:
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss(self._features[self._rows])
        loss.backward()
        self._optimizer.step()
        return loss

    def _plain_loss(self, rows: Tensor) -> Tensor:
        hidden = rows.to(self._dtype)
        module = self._fit_state.module
        weights = layer_weights(module, self._dtype)
        for index, (weight, taps) in enumerate(zip(weights, self._fit_state.plan.taps, strict=True)):
            hidden = F.relu(hidden) if index else hidden
            if taps.shape[1] > 1:
                hidden = hidden[:, taps.flatten()].reshape(len(rows), len(taps), -1)
            hidden = F.linear(hidden, weight.matrix, weight.bias)
        z = F.normalize(rows[:, self._fit_state.plan.centers] + module.gate() * hidden.to(rows.dtype), dim=-1)
        with torch.autocast(rows.device.type, torch.bfloat16, enabled=self._dtype == torch.bfloat16):
            predictions = self._fit_state.predictor(z)
        return similarity_loss(z, predictions.to(z.dtype), self._target)
