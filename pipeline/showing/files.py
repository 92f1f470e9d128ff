"""Detections in the form that the suffix of a file names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from pipeline.annotations.segments import Detection
from pipeline.annotations.tools.elan import EXTRA
from pipeline.annotations.tools.writing import write_for_tool
from pipeline.errors import PipelineError
from pipeline.showing.config import ShowConfig
from pipeline.showing.listing import Listing, choose
from pipeline.showing.texts import EACH, WHOLE
from pipeline.storage.atomic_files import write_text
from pipeline.storage.file_names import file_name_of

# Beside .json, which holds all that is known about detections.
FORM_SUFFIXES = (".csv", ".jsonl", ".srt", ".vtt", ".eaf")


def check_suffix(out: Path) -> None:
    """Check, before any work, that a form's library is installed.

    Raises:
        PipelineError: it is not.
    """
    if out.suffix.lower() == ".eaf" and find_spec("pympi") is None:
        raise PipelineError(f"a file of ELAN needs {EXTRA}")


def files_of(out: Path, video_ids: Sequence[str]) -> dict[str, Path]:
    """Return the file of each video, in a form with a file for each: several lie in a folder named like `out`."""
    if len(video_ids) == 1:
        return {video_ids[0]: out}
    return {i: out.with_suffix("") / f"{file_name_of(i)}{out.suffix}" for i in video_ids}


def write_form(out: Path, found: Mapping[str, Sequence[Detection]], proposed_score: float | None) -> None:
    """Write detections in the form that the suffix of `out` names.

    Tables hold all. Others hold what `show` chooses: the detections of the proposed score, else the best.

    Args:
        out: a table, or the file of one video; of several, see `files_of`.
        proposed_score: of the model, if it knows one.
    """
    form = out.suffix.lower().removeprefix(".")
    listing = Listing(found, proposed_score=proposed_score)
    if form in WHOLE:
        write_text(out, WHOLE[form](listing))
        return
    chosen, _ = choose(listing, ShowConfig())
    if form == "eaf":
        write_for_tool(chosen.videos, out)
        return
    for video_id, file in files_of(out, list(found)).items():
        write_text(file, EACH[form](chosen, video_id))
