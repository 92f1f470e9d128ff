"""Start or join Ray for one job and leave it again. Only this file imports Ray to connect."""

from __future__ import annotations

import importlib
import logging
import math
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.cluster.config import ExecutionConfig
from pipeline.cluster.cores import usable_cores
from pipeline.errors import PipelineError

_STORE_BYTES = 512 << 20  # shared memory for objects that workers exchange; only decoders use much of it
_MAX_CORES = 4  # default for a worker without a GPU


@dataclass(frozen=True)
class Capacity:
    """Number and size of the workers that a cluster has room for.

    Args:
        workers: most workers at a time.
        cpus, gpus: of each worker.
    """

    workers: int
    cpus: int
    gpus: float


@contextmanager
def connected(config: ExecutionConfig) -> Iterator[Any]:
    """Connect to the cluster that `config` names and yield the module `ray`; disconnect if this call connected it.

    Raises:
        PipelineError: Ray is not installed, or the cluster is out of reach.
    """
    address = config.ray_address or os.environ.get("RAY_ADDRESS") or "local"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage statistics
    if address == "local":
        _require_token()
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise PipelineError(
            "executor='ray' needs Ray, which is not installed: pip install \"sola-pipeline[ray]\", or executor='local'"
        ) from None
    if ray.is_initialized():  # the calling program did it
        yield ray
        return
    own_signals = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if own_signals}
    here: dict[str, Any] = {"num_cpus": usable_cores(), "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    try:
        ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR, **(here if address == "local" else {})
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise PipelineError(
            f"ray_address {address}: {str(error).splitlines()[0]}; start a cluster with `ray start --head`, or leave "
            "the address out to work on this machine"
        ) from None
    finally:  # Ray installs its own handlers, which would end this program with another exit code
        for number, handler in handlers.items():
            signal.signal(number, handler)
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_token() -> None:
    """Make a Ray that starts here obey this program only.

    Without a token Ray listens on all networks and obeys everyone. It reads this setting at import.
    """
    if "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def capacity_in(ray: Any, config: ExecutionConfig, *, on_cpu: bool = False, more_cpus: int = 0) -> Capacity:
    """Return how many workers the cluster has room for, and the cores and GPUs of each.

    Args:
        on_cpu: the work uses no GPU.
        more_cpus: extra cores that each worker takes, on any machine.

    Raises:
        PipelineError: no machine has room for a worker.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not nodes:
        raise PipelineError("the Ray cluster has no machine with CPUs; start some with `ray start --address=HOST:PORT`")
    all_cpus, all_gpus = (sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU"))
    gpus = config.ray_gpus_per_worker
    if gpus is None:
        gpus = 1.0 if all_gpus and not on_cpu else 0.0
    cpus = config.ray_cpus_per_worker or _default_cpus(nodes, gpus, more_cpus)
    places = sum(_places(node, cpus, gpus) for node in nodes)
    places = min(places, int(all_cpus // (cpus + more_cpus)))
    if places == 0:
        largest = max(nodes, key=lambda node: (node.get("GPU", 0.0), node["CPU"]))
        raise PipelineError(
            f"a worker needs {cpus + more_cpus} CPUs and {gpus:g} GPUs; the Ray cluster's largest machine has "
            f"{largest['CPU']:g} and {largest.get('GPU', 0.0):g}; give ray_cpus_per_worker and ray_gpus_per_worker"
        )
    return Capacity(workers=min(places, config.ray_workers or places), cpus=cpus, gpus=gpus)


def _default_cpus(nodes: list[dict[str, float]], gpus: float, more_cpus: int) -> int:
    if gpus:
        shares = [node["CPU"] * gpus / node["GPU"] for node in nodes if node.get("GPU", 0.0) >= gpus]
        most = min(shares, default=1.0)
    else:
        most = min(_MAX_CORES, *(node["CPU"] for node in nodes), sum(node["CPU"] for node in nodes) - more_cpus)
    return max(1, int(most) - (more_cpus if gpus else 0))


def _places(node: dict[str, float], cpus: int, gpus: float) -> int:
    by_cpus = int(node["CPU"] // cpus)
    if not gpus:
        return by_cpus
    # Ray hands out a fraction of one GPU, or whole GPUs: two workers of 0.6 do not fit on one.
    whole = int(node.get("GPU", 0.0))
    by_gpus = whole * math.floor(1 / gpus + 1e-9) if gpus <= 1 else int(whole // gpus)
    return min(by_cpus, by_gpus)
