"""The settings that say where work is done. They change no result, so they are not part of its identity."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.errors import PipelineError
from sola.old_names import stored_settings


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """Where work is done: on this machine, or by the workers of a Ray cluster."""

    executor: Literal["local", "ray"] = "local"
    """Where to work: on this machine (local), or on the workers of a Ray cluster (ray). All of them must see the same
    files under the same paths. Needs pip install "sola-pipeline[ray]"."""

    ray_address: str | None = None
    """The cluster: HOST:PORT, or auto for the one of this machine. Default: $RAY_ADDRESS; if that is not set, Ray is
    started here for the time of the job."""

    ray_workers: int | None = None
    """Maximum number of workers at a time. Default: as many as fit."""

    ray_cpus_per_worker: int | None = None
    """Cores per worker. Default: 4, or the share of a GPU, or as many as the smallest machine has."""

    ray_gpus_per_worker: float | None = None
    """GPUs per worker; 0.5 puts two workers on one GPU. Default: 1 if the cluster has GPUs, else 0."""

    def __post_init__(self) -> None:
        if self.executor not in ("local", "ray"):
            raise PipelineError(f"executor must be 'local' or 'ray', got {self.executor!r}")
        for name in ("ray_workers", "ray_cpus_per_worker"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise PipelineError(f"{name} must be >= 1, got {value}")
        gpus = self.ray_gpus_per_worker
        if gpus is not None and not (0 <= gpus <= 1 or float(gpus).is_integer()):
            raise PipelineError(f"ray_gpus_per_worker must be from 0 to 1, or a whole number, got {gpus}")
        given = [name for name, value in asdict(self).items() if name.startswith("ray_") and value is not None]
        if given and self.executor != "ray":
            raise PipelineError(f"{given[0]} needs executor='ray', got executor={self.executor!r}")


@dataclass(frozen=True, kw_only=True)
class ExtractExecutionConfig(ExecutionConfig):
    """The same for extraction, which can be divided further."""

    ray_decoders: int | None = None
    """Decoders per worker: further workers of one core each, on any machine, that send it their frames. Default: none;
    a worker decodes on its own cores."""

    ray_range_minutes: float | None = None
    """Split a longer video into ranges of at most this length, for several workers. Default: 20."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ray_decoders is not None and self.ray_decoders < 1:
            raise PipelineError(f"ray_decoders must be >= 1, got {self.ray_decoders}")
        minutes = self.ray_range_minutes
        if minutes is not None and not 0 < minutes < float("inf"):
            raise PipelineError(f"ray_range_minutes must be > 0, got {minutes}")


def settings_of_results(config: Any) -> Any:
    """Return a stage's settings as files have them, without those that say where the work is done.

    They identify its result.

    Args:
        config: a dataclass of settings.
    """
    return _without_execution(stored_settings(config))


def _without_execution(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_execution(item) for name, item in value.items() if name != "execution"}
