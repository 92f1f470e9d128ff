"""The command that turns detections into something to use: its options, its help, and what it prints."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from pipeline.commandline.app import Flat, Local, Locations, app
from pipeline.showing.config import Form, ShowConfig


@app.command(name="show", sort_key=5)
def show(
    detections: Local,
    /,
    *,
    form: Annotated[Form, Parameter(name="--as")],
    videos: Locations | None = None,
    out: Local | None = None,
    settings: Annotated[ShowConfig, Flat] = ShowConfig(),
) -> int:
    """Turn detections into a table, subtitles, chapters, clips, or a timeline for an editing program.

    Also shows ground truth. Run it again: finished files are kept. A file that `show` did not write is never replaced.

    Args:
        detections: What `localize` wrote (.json), detections of other tools in ActivityNet's submission format, or
            ground truth.
        form: csv and jsonl: one table. srt and vtt: subtitles. chapters: a file for ffmpeg -i VIDEO -i FILE
            -map_metadata 1. otio: a timeline with markers (OpenTimelineIO). clips: a video file of each segment.
            montage: the best clips of each label, joined.
        videos: The videos, as for `extract`. Needed for clips, montage and otio; for other forms, leaves out videos
            that are not there.
        out: Folder of the files; for a table, or a single video's file, the file. Default: beside DETECTIONS.
    """
    from pipeline.commandline.terminal import note, say, say_failures
    from pipeline.progress import progress
    from pipeline.showing.show import show as write

    with progress("show", total=1) as report:
        summary = write(detections, form, settings, videos=videos, out=out, report=report)
    for line in summary.notes:
        note(line)
    say(f"{summary.out}: {summary.text}")
    return say_failures(summary.failed)
