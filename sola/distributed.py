"""Several processes that fit one module together: torchrun starts them, this joins them.

Each process reads and computes its share of a step's windows. What is a mean over all windows of the step (the loss,
its gradient, the measures) is added up over the processes, so that a fit does what one process does, to rounding.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sola.config import Device
from sola.device import resolve_device
from sola.errors import SolaError

# Processes wait for one another while one of them enhances a long video. Who has died is told by torchrun, at once.
_PATIENCE = timedelta(hours=24)

Total = Callable[[Tensor], Tensor]
"""The sum of a tensor over all that share a batch, without gradient."""


def no_reduction(values: Tensor) -> Tensor:
    """The `Total` of a batch that nobody shares."""
    return values.detach()


@dataclass(frozen=True)
class Team:
    """The processes that work together: the number of this one, from 0, and how many there are; 1: it is alone."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and reports what all have found."""
        return self.rank == 0

    def shard(self, count: int) -> slice:
        """Which of so many things in a row are this process's: each is somebody's, all have nearly equally many."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes of tensors of one shape, without gradient."""
        values = values.detach()
        if self.size > 1:
            values = values.clone()
            with self.together():
                dist.all_reduce(values)
        return values

    def any(self, wishes: Sequence[bool], device: torch.device) -> list[bool]:
        """Of each wish, whether at least one process has it; the device is where the team's tensors are."""
        if self.size == 1:
            return list(wishes)
        counts = self.total(torch.tensor(list(wishes), dtype=torch.int64, device=device))
        return [count > 0 for count in counts.tolist()]

    def broadcast(self, value: Any) -> Any:
        """The value that the first process has; of the others only the type counts."""
        box = [value]
        if self.size > 1:
            with self.together():
                dist.broadcast_object_list(box, src=0)
        return box[0]

    def all_gather(self, value: Any) -> list[Any]:
        """The values that the processes have, in their order; comes back when all have come here."""
        values = [value] * self.size
        if self.size > 1:
            with self.together():
                dist.all_gather_object(values, value)
        return values

    def wrap_ddp(self, network: nn.Module, *, unused: bool = False) -> nn.Module:
        """The network, with gradients that are the mean of those of all processes; its weights become the first's.

        Args:
            unused: whether parameters may take no part in what is differentiated.
        """
        if self.size == 1:
            return network
        with self.together():
            return DistributedDataParallel(network, find_unused_parameters=unused)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Turns the failure of an exchange with the others into an error that tells what to do."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or isinstance(error, torch.OutOfMemoryError):
                raise
            raise SolaError(
                f"process {self.rank} of {self.size} stops, since another one has ended or cannot be reached, and that "
                f"one's message says why ({str(error).splitlines()[0][:200]}). The same command goes on from the last "
                "checkpoint"
            ) from error


ALONE = Team()


@contextmanager
def joined_team(device: Device) -> Iterator[Team]:
    """The team for which torchrun has started this process, by its environment; without it, a team of one.

    Processes on GPUs talk by NCCL, each with the GPU of its number on its machine; others by gloo.

    Raises:
        SolaError: torchrun has started more processes on this machine than there are GPUs.
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
    """Ctrl-C and SIGTERM are put into the list, and do nothing else: what a team does, all do at the same step."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # signals do not come here
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
