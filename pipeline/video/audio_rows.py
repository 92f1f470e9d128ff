"""The rows of a video whose audio alone is wanted: no picture is decoded."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.snippets import SnippetPlan
from pipeline.video import pyav_backend
from pipeline.video.decode import Chunk
from pipeline.video.metadata import VideoInfo
from pipeline.video.ranges import Part
from pipeline.video.report import DecodeReport, refuse_truncated, rows_in
from pipeline.video.schedule import SnippetFrames

_ROWS_PER_CHUNK = 64


def rows_without_pictures(info: VideoInfo, plan: SnippetPlan, part: Part | None) -> Iterator[Chunk | DecodeReport]:
    """Yield the rows of a video, or of a part, in chunks without frames, then a report, as `decode` does.

    Raises:
        VideoError: truncated, too_short.
    """
    refuse_truncated(info)
    rows = rows_in(info.duration, plan)
    first, end, frames = 0, rows, info.num_frames
    if part is not None:
        first, end, frames = part.first_row, part.end_row, part.end_frame - part.first_frame
    for start in range(first, end, _ROWS_PER_CHUNK):
        chunk = range(start, min(start + _ROWS_PER_CHUNK, end))
        yield Chunk(0, (), tuple(SnippetFrames(row, ()) for row in chunk), 0)
    yield DecodeReport(
        backend="pyav",
        backend_version=pyav_backend.version(),
        backend_reason="audio alone: no picture is decoded",
        decoded_frames=frames,
        corrupt_frames=0,
        duration=info.duration,
        num_snippets=end - first,
        notes=info.notes,
        start_offset=info.start - info.container_start,
    )
