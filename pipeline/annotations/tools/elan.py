"""ELAN: `.eaf` files, one for each video, read with pympi-ling (the extra `elan`).

The label of an annotation is its value; in a tier where no annotation has a value, it is the tier's name. Annotations
without times of their own (of dependent tiers) are left out.

Source: https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf; pympi-ling's `Elan.Eaf`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.annotations.content import Content
from pipeline.annotations.raw import RawAnnotations
from pipeline.annotations.tools.gather import Gather
from pipeline.annotations.tools.names import video_id_of
from pipeline.errors import PipelineError
from pipeline.storage.file_names import identifier_of
from pipeline.storage.read_xml import xml_children

_MOST_MILLISECONDS = 10**12
EXTRA = "pip install 'sola-pipeline[elan]' (pympi-ling)"


def recognizes(content: Content) -> bool:
    """Return whether the root of the XML is ELAN's."""
    return content.xml == "ANNOTATION_DOCUMENT"


def translate(content: Content) -> RawAnnotations:
    """Return the annotations that have times, of all tiers.

    Raises:
        PipelineError: pympi-ling is not installed, or cannot read the file.
    """
    eaf = _read(content)
    units = eaf.header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise PipelineError(f"annotations: {content.path} counts time in {units!r}; save it in milliseconds")
    found = Gather("elan")
    video, origin = _video(eaf.media_descriptors, content.path)
    found.video(video)
    for tier, (aligned, dependent, *_) in eaf.tiers.items():
        for _ in dependent:
            found.leave_out("annotation", "of dependent tiers")
        named = any(value.strip() for _, _, value, *_ in aligned.values())
        for key, (first, last, value, *_) in aligned.items():
            times = eaf.timeslots.get(first), eaf.timeslots.get(last)
            if times[0] is None or times[1] is None:
                found.leave_out("annotation", "without times")
                continue
            where = f"tier {tier!r:.60}, annotation {key}"
            if max(map(abs, times)) > _MOST_MILLISECONDS:
                found.fault(where, "its times are larger than any video's")
                continue
            bounds = tuple((time + origin) / 1000 for time in times)
            found.segment(video, bounds, value if named else tier, where=where)
    return found.result()


def _read(content: Content) -> Any:
    try:
        from pympi import Eaf
    except ImportError:
        raise PipelineError(f"annotations: {content.path} is ELAN's; reading it needs {EXTRA}") from None
    with content.open() as file:  # pympi's parser would take entities and any depth
        for _ in xml_children(file, where=f"annotations: {content.path}"):
            pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Eaf(str(content.path), suppress_version_warning=True)
    except Exception as error:  # it raises what it meets: KeyError, ValueError, Exception
        raise PipelineError(
            f"annotations: {content.path} is no whole file of ELAN ({type(error).__name__}: {error}); save it again"
        ) from None


def _video(media: list[Mapping[str, str]], path: Path) -> tuple[str, int]:
    """Return the id of the video, and the milliseconds of its own clock at the annotations' zero."""
    chosen = next((one for one in media if one.get("MIME_TYPE", "").startswith("video/")), None)
    if chosen is None:
        return identifier_of(path.stem), 0
    origin = chosen.get("TIME_ORIGIN", "0")
    name = video_id_of(chosen.get("MEDIA_URL") or chosen.get("RELATIVE_MEDIA_URL") or "")
    return name or identifier_of(path.stem), int(origin) if origin.isdecimal() and len(origin) < 13 else 0
