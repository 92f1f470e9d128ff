"""The options of an ablation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pipeline.cluster.config import ExecutionConfig
from pipeline.errors import PipelineError
from pipeline.extraction.config import FLAT


@dataclass(frozen=True, kw_only=True)
class AblateConfig:
    """How to run an ablation; its file says what varies."""

    annotations: Path | None = None
    """Ground truth: a file or folder with labels in any form that `annotations` reads. Default: as in the file."""

    store: tuple[Path, ...] = ()
    """Feature stores to work on; with several, each is tried. Default: as in the file."""

    videos: tuple[Path, ...] = ()
    """Raw videos, in place of a store. They are extracted once for each setting of [extract]. Default: as in the
    file."""

    jobs: int | None = None
    """Cells to run at once, each in a process with its share of the cores. Default: half the cores; 1 with a GPU."""

    head: bool = True
    """Train a head in each cell and evaluate its detections; --no-head runs the linear evaluation alone, in a fraction
    of the time."""

    keep_features: bool = False
    """Keep each cell's enhanced features. By default they are removed when the cell is finished; the module and the
    results stay."""

    execution: Annotated[ExecutionConfig, FLAT] = field(default_factory=ExecutionConfig)

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise PipelineError(f"jobs must be >= 1, got {self.jobs}")
