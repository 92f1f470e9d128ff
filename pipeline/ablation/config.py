"""The options of an ablation, and the settings of one of its cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from pipeline.cluster.config import ExecutionConfig
from pipeline.config import ProbeConfig, RunConfig
from pipeline.errors import PipelineError
from pipeline.extraction.config import FLAT
from sola.config import FilterName
from sola.old_names import Renamed


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


@dataclass(frozen=True, kw_only=True)
class CellConfig(RunConfig):
    """The settings of a cell of an ablation: those of `run`, and of the linear evaluation."""

    RENAMED: ClassVar[Mapping[str, Renamed]] = {"probe": Renamed("linear_probe")}
    ADDED: ClassVar[tuple[str, ...]] = ("filters", "published", "video_scores", "filter", "rotate")

    linear_probe: ProbeConfig = field(default_factory=ProbeConfig)

    use_head: bool = True
    """Train and evaluate a head; without one there is the linear evaluation alone."""

    filter: FilterName | None = None
    """Filter the features, in place of SoLa."""

    rotate: bool = False
    """Turn the channels of the features by a random rotation, in place of SoLa: it must change nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rotate and (self.use_sola or self.filter is not None):
            raise PipelineError("rotate is a row of its own, of plain features: leave out filter and SoLa")
        if self.train.sola != "frozen" and not self.use_head:
            raise PipelineError(f"train.sola={self.train.sola} needs a head to train SoLa with; leave out --no-head")
