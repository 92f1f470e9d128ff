"""`annotations`: labels of other tools, checked and converted."""

from __future__ import annotations

from typing import Annotated

from pipeline.annotations.config import ConvertConfig
from pipeline.commandline.app import Flat, Local, Locals, Locations, app
from pipeline.commandline.terminal import note, say, say_faults
from pipeline.errors import SOME_FAILED, PipelineError
from pipeline.progress import progress
from pipeline.text.plain import counted


@app.command(name="annotations", sort_key=12)
def show_annotations(
    files: Locals,
    /,
    *,
    out: Local | None = None,
    videos: Locations | None = None,
    settings: Annotated[ConvertConfig, Flat] = ConvertConfig(),
) -> int:
    """Read labels of annotation tools and data sets: summarize, check, split and convert them.

    All commands with --annotations read the same files. Forms: ActivityNet, HACS, THUMOS14, MultiTHUMOS, ActionFormer,
    BSN, EPIC-KITCHENS, Ego4D; VIA 3, CVAT, Label Studio, ELAN (needs the extra elan), BORIS, Audacity; a table with the
    columns video, start, end, label. Detections are written for the same tools, to be corrected there.

    Args:
        files: Files or folders with labels, or one file of detections.
        out: Also write the labels here, as annotations (.json) or for a tool (see --to).
        videos: The videos: compare names and durations with them, and take their frame rates.
    """
    from pipeline.annotations import summary as annotation_summary
    from pipeline.annotations.faults import FaultyAnnotationsError
    from pipeline.stages.convert_annotations import convert

    try:
        with progress("annotations", total=1, shown=bool(videos)) as report:
            done = convert(files, out, settings, videos=videos, report=report)
    except FaultyAnnotationsError as error:
        return say_faults(error.lines, "nothing is written: correct them, or leave them out with --skip-faults")
    for line in done.notes:
        note(line)
    if done.annotations is not None:
        found = annotation_summary(done.annotations)
        if not found.videos and done.faults:
            return say_faults(done.faults, "nothing is left without them")
        if not found.videos:
            raise PipelineError(f"annotations {', '.join(map(str, files))}: it has no videos")
        for line in found.lines():
            say(line)
    if done.written:
        more = f" and {counted(len(done.written) - 1, 'more file')}" if len(done.written) > 1 else ""
        say(f"written: {done.written[0]}{more}")
    if done.faults:
        say_faults(done.faults, "left out")
        return SOME_FAILED
    return 0
