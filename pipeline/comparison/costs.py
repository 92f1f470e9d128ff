"""What a step takes: operations, trained parameters, time and memory, counted while it runs.

A multiplication and an addition are two operations; those of matrix products and convolutions count. What a step
really runs is counted, so a trained network takes about three times its forward pass, one that is encoded again for its
gradient four times, and what lies below frozen stages once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from encoders.catalog import catalog_entry
from encoders.loading import load_network
from pipeline.stages.run_record import peak_memory_megabytes


@dataclass(frozen=True)
class Cost:
    """What a step has taken.

    Args:
        seconds: wall time.
        operations: in matrix products and convolutions.
        parameters: that an optimizer has moved.
        memory_megabytes: peak memory of the process.
        gpu_megabytes: peak memory on the GPU; 0 without one.
    """

    seconds: float = 0.0
    operations: float = 0.0
    parameters: int = 0
    memory_megabytes: int = 0
    gpu_megabytes: int = 0

    def after(self, earlier: Cost) -> Cost:
        """Return the cost of a step that was interrupted at `earlier` and went on as this one."""
        return Cost(
            self.seconds + earlier.seconds,
            self.operations + earlier.operations,
            max(self.parameters, earlier.parameters),
            max(self.memory_megabytes, earlier.memory_megabytes),
            max(self.gpu_megabytes, earlier.gpu_megabytes),
        )


class OperationCounter(TorchDispatchMode):
    """Counts the operations of matrix products and convolutions inside, forward and backward, in `total`.

    The formulas are those of torch's FlopCounterMode, which also counts by module and so takes several times as long.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self._whole: set[Any] = set()  # what is not made of other operators

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; torch's guard would take longer than the counting

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, or those that it is made of, and count it."""
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None and func not in self._whole:
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
            self._whole.add(func)
        out = func(*args, **kwargs)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=out)
        return out


def operations(work: Callable[[], object]) -> float:
    """Return the operations of `work` in matrix products and convolutions, forward and backward."""
    with OperationCounter() as counter:
        work()
    return float(counter.total)


def snippet_operations(encoder: str, weights: str, *, pool: str | None = None) -> float:
    """Return the operations of a forward pass of one snippet, at the size that the weights were trained for.

    Args:
        encoder, weights, pool: as for `extract`.
    """
    network, spec, _ = load_network(catalog_entry(encoder, pool=pool, weights=weights), weights=weights)
    frames, side = spec.num_frames, spec.crop_size
    shape = (frames, 3, side, side) if spec.layout == "frames" else (1, 3, frames, side, side)
    with torch.no_grad():
        return operations(lambda: network(torch.zeros(shape)))


@contextmanager
def metered(*, counts: bool = True) -> Iterator[Callable[[], Cost]]:
    """Measure what runs inside, in this thread; yield what returns the cost so far.

    Args:
        counts: also count operations, which takes some microseconds for each operator.
    """
    started = time.perf_counter()
    sizes: dict[int, int] = {}

    def moved(optimizer: Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            sizes.update((id(one), one.numel()) for one in group["params"] if one.grad is not None)

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    hook = register_optimizer_step_post_hook(moved)
    try:
        counter = OperationCounter()
        with counter if counts else nullcontext():

            def cost() -> Cost:
                gpu = round(torch.cuda.max_memory_allocated() / 1e6) if torch.cuda.is_available() else 0
                seconds = time.perf_counter() - started
                done = float(counter.total)
                return Cost(seconds, done, sum(sizes.values()), peak_memory_megabytes(), gpu)

            yield cost
    finally:
        hook.remove()
