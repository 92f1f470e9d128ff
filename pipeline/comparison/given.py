"""What all steps of a comparison share: the plan, the data, and where things lie.

OUT/start/                         encoder.safetensors (if it is trained here), features/
OUT/encoders/<method>/seed<n>/     encoder.safetensors or model/; features/, and beside/ (beside those of the start)
OUT/cells/<row>-seed<n>-<hash>/    head, detections and scores of a row

Each has run.json and costs.json of its stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from encoders.spec import EncoderSpec
from encoders.trained import carried_spec
from pipeline.comparison.plan import Plan
from pipeline.comparison.rows import END_TO_END, START, Row
from pipeline.storage.read_files import sha256_of_file
from pipeline.video.find import find_videos

WEIGHTS = "encoder.safetensors"


@dataclass(frozen=True)
class Comparison:
    """A plan with its data.

    Args:
        plan: what to compare.
        out: the folder of results.
        videos, annotations: given or stitched.
        clips: trimmed clips to learn from, without those that validation videos are stitched of; None without clips.
    """

    plan: Plan
    out: Path
    videos: Path
    annotations: Path
    clips: Path | None

    def folder(self, encoder: str, seed: int) -> Path:
        """Return the folder of an encoder; the start weights have no seed."""
        return self.out / START if encoder == START else self.out / "encoders" / encoder / f"seed{seed}"

    def features(self, row: Row, seed: int) -> Path:
        """Return the folder of a row's features."""
        return self.folder(row.encoder, seed) / ("beside" if row.beside_start else "features")

    def weights(self, encoder: str, seed: int) -> str:
        """Return the file or the name of an encoder's weights."""
        if encoder == START and self.plan.start is None:
            return self.plan.extract.weights
        folder = self.folder(encoder, seed)
        return str((folder / "model" if encoder == END_TO_END else folder) / WEIGHTS)


def spec_of(weights: str) -> EncoderSpec | None:
    """Return the spec that a weights file carries; None for published weights."""
    return carried_spec(Path(weights)) if Path(weights).is_file() else None


def content_of(weights: str) -> str:
    """Return a hash of a weights file; of published weights, their name."""
    return sha256_of_file(Path(weights)) if Path(weights).is_file() else weights


def files_in(source: Path) -> list[tuple[str, int]]:
    """Return name and size of each file, to see changes."""
    if source.suffix == ".csv":
        return [(source.read_text(encoding="utf-8"), 0)]
    return [(str(video.path), Path(str(video.path)).stat().st_size) for video in find_videos([source], ids="path")]
