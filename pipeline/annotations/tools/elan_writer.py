"""Write an `.eaf` file of ELAN, with pympi-ling (the extra `elan`).

A label has a tier of its name, with the label as the value of its annotations; where its segments overlap, which a tier
of ELAN cannot hold, further tiers ("label 2"). Every tier is in every file, so that missed actions can be marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.annotations.tools.elan import EXTRA
from pipeline.annotations.tools.labeled import Video, lanes
from pipeline.errors import PipelineError
from pipeline.storage.atomic_files import whole_file
from pipeline.storage.read_xml import xml_text

_MIME_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".avi": "video/x-msvideo"}
_DATE = "1970-01-01T00:00:00+00:00"  # equal labels give equal files


def write(path: Path, video: Video, labels: Sequence[str]) -> None:
    """Write the file of one video; times are rounded to milliseconds.

    Args:
        labels: all labels of the data set.

    Raises:
        PipelineError: pympi-ling is not installed.
    """
    try:
        from pympi import Eaf
    except ImportError:
        raise PipelineError(f"a file of ELAN needs {EXTRA}") from None
    eaf = Eaf(author="sola-pipeline")
    eaf.adocument["DATE"] = _DATE
    if video.facts is not None:
        source = Path(video.facts.path)
        mime = _MIME_TYPES.get(source.suffix.lower(), "video/*")
        eaf.add_linked_file(source.absolute().as_uri(), relpath=f"./{source.name}", mimetype=mime)
    eaf.remove_tier("default")
    tiers = _Tiers(eaf)
    for label in labels:
        tiers.name(label, 0)
        for lane, item in lanes(found for found in video.items if found.label == label):
            start = max(0, round(1000 * item.segment[0]))
            end = max(start + 1, round(1000 * item.segment[1]))
            eaf.add_annotation(tiers.name(label, lane), start, end, xml_text(label))
    with whole_file(path) as partial:
        eaf.to_file(str(partial))


class _Tiers:
    """Tiers of a file, by label and lane; no two have one name."""

    def __init__(self, eaf: Any) -> None:
        self._eaf = eaf
        self._names: dict[tuple[str, int], str] = {}

    def name(self, label: str, lane: int) -> str:
        """Return the name of a tier, which is added at first."""
        if (label, lane) not in self._names:
            wanted = xml_text(label) if lane == 0 else f"{xml_text(label)} {lane + 1}"
            while wanted in self._names.values():
                wanted += "'"
            self._names[label, lane] = wanted
            self._eaf.add_tier(wanted)
        return self._names[label, lane]
