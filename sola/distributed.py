"""Data-parallel fitting with torch.distributed, in processes that torchrun starts.

Each rank reads and computes its shard of a step's windows. Means over all windows of the step (the loss, its gradient,
the measures) are all-reduced over the ranks. So a fit on several ranks equals one on a single process, up to rounding.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sola.device import resolve_device
from sola.errors import SolaError

# Ranks wait while one of them enhances a long video. torchrun itself reports a rank that dies, at once.
_PATIENCE = timedelta(hours=24)

_Value = TypeVar("_Value")

Total = Callable[[Tensor], Tensor]
"""All-reduce with SUM: returns the sum of a tensor over the ranks that share a batch, without gradient."""


def no_reduction(values: Tensor) -> Tensor:
    """Return the values unchanged, without gradient: the `Total` of a single process."""
    return values.detach()


@dataclass(frozen=True)
class Team:
    """A process group: the rank of this process, from 0, and the world size; 1 means no other process.

    All ranks must call the collectives (`total`, `any`, `broadcast`, `all_gather`, `wrap_ddp`) in the same order.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Return whether this is rank 0, which writes files and reports."""
        return self.rank == 0

    def shard(self, count: int) -> slice:
        """Return this rank's shard of `count` items: contiguous, disjoint, and of nearly equal size on all ranks."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all ranks (all-reduce) of tensors of one shape, without gradient."""
        values = values.detach()
        if self.size > 1:
            values = values.clone()
            with self.together():
                dist.all_reduce(values)
        return values

    def any(self, wishes: Sequence[bool], device: torch.device) -> list[bool]:
        """Return for each flag whether it is true on at least one rank; `device` holds the exchanged tensor."""
        if self.size == 1:
            return list(wishes)
        counts = self.total(torch.tensor(list(wishes), dtype=torch.int64, device=device))
        return [count > 0 for count in counts.tolist()]

    def broadcast(self, value: _Value) -> _Value:
        """Return rank 0's value on every rank; the values of the others are ignored."""
        box = [value]
        if self.size > 1:
            with self.together():
                dist.broadcast_object_list(box, src=0)
        return box[0]

    def all_gather(self, value: _Value) -> list[_Value]:
        """Return the values of all ranks, by rank; blocks until all ranks call it."""
        values = [value] * self.size
        if self.size > 1:
            with self.together():
                dist.all_gather_object(values, value)
        return values

    def wrap_ddp(self, network: nn.Module) -> nn.Module:
        """Return the network in DistributedDataParallel: gradients are averaged, weights are copied from rank 0.

        With one process, return the network itself.
        """
        if self.size == 1:
            return network
        with self.together():
            return DistributedDataParallel(network)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Turn the failure of a collective into a SolaError that says what to do."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or isinstance(error, torch.OutOfMemoryError):
                raise
            raise SolaError(
                f"process {self.rank} of {self.size} stops because another one has ended or cannot be reached; the "
                f"message of that one says why ({str(error).splitlines()[0][:200]}). The same command resumes from the "
                "last checkpoint"
            ) from error


ALONE = Team()


@contextmanager
def joined_team(device: str) -> Iterator[Team]:
    """Join the process group of torchrun's environment variables, and leave it at the end; without them, be `ALONE`.

    GPUs use the NCCL backend, each rank the GPU of its local rank. CPUs use gloo.

    Raises:
        SolaError: torchrun started more processes on this machine than there are GPUs.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    if not all(name in os.environ for name in names):
        yield ALONE
        return
    rank, size, local = (int(os.environ[name]) for name in names[:3])
    on_gpu = resolve_device(device).type == "cuda"
    if on_gpu:
        if local >= torch.cuda.device_count():
            raise SolaError(
                f"torchrun has started process {local} (from 0) on a machine with {torch.cuda.device_count()} GPUs: "
                f"--nproc-per-node must be at most their number, or add --device cpu"
            )
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if on_gpu else "gloo", rank=rank, world_size=size, timeout=_PATIENCE)
    try:
        yield Team(rank, size)
    finally:
        dist.destroy_process_group()


@contextmanager
def interrupts_noted() -> Iterator[list[int]]:
    """Put Ctrl-C and SIGTERM into the list instead of acting on them, so that all ranks stop after the same step."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield noted
        return

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    handlers = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
