"""Ground truth: the segments in which actions happen. Reads and writes the file formats of the field."""

from pipeline.annotations.match import Match, adopt_ids, match
from pipeline.annotations.model import AMBIGUOUS, Annotations, VideoAnnotations, canonical_subset
from pipeline.annotations.reading import fit_to_durations, read_annotations, sha256_of_annotations
from pipeline.annotations.summary import Summary, summary
from pipeline.annotations.writing import write_annotations

__all__ = [
    "AMBIGUOUS",
    "Annotations",
    "Match",
    "Summary",
    "VideoAnnotations",
    "adopt_ids",
    "canonical_subset",
    "fit_to_durations",
    "match",
    "read_annotations",
    "sha256_of_annotations",
    "summary",
    "write_annotations",
]
