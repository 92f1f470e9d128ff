"""Cut a clip for each segment: OUT/LABEL/VIDEO_START-END.mp4, and OUT/clips.csv, which says what each clip holds.

The folder and the table are what `pretrain` takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.annotations.segments import Detection
from pipeline.annotations.tools.table_writer import table
from pipeline.progress import Report
from pipeline.showing.cutter import Cut, cut_video
from pipeline.showing.listing import Listing
from pipeline.showing.outputs import OccupiedError, Outputs
from pipeline.storage.atomic_files import temporary_folder
from pipeline.storage.file_names import file_name_of
from pipeline.storage.local import cached
from pipeline.storage.stamps import stamp_of
from pipeline.text.plain import counted
from pipeline.video.errors import VideoError
from pipeline.video.videos import VideoFile

TABLE = "clips.csv"
_COLUMNS = ("path", "label", "group", "start", "end", "cut_start", "cut_end", "score")


@dataclass(frozen=True)
class _Wanted:
    """A segment, the name of its clip without suffix, and what the clip is made from."""

    video_id: str
    item: Detection
    stem: str
    made_from: list[Any]

    def row(self, about: Mapping[str, Any], *, scored: bool) -> list[object]:
        start, end = self.item.segment
        cut = about.get("start"), about.get("end")
        return [about["file"], self.item.label, self.video_id, start, end, *cut, self.item.score if scored else ""]


def make_clips(
    listing: Listing, videos: Mapping[str, VideoFile], outputs: Outputs, *, exact: bool, report: Report
) -> tuple[dict[str, str], float]:
    """Cut a clip for each segment that has none yet.

    Args:
        videos: by video id, all that the listing has.
        exact: encode the pictures again; else copy the streams from a key frame on.
        report: gets the share of clips done, 0 to 1.

    Returns:
        The videos and clips that failed, with the reasons; and by how many seconds a clip begins too early at most.
    """
    failed: dict[str, str] = {}
    made: dict[str, tuple[_Wanted, Mapping[str, Any]]] = {}  # by stem, in the listing's order
    done, total = 0, max(1, listing.count())
    for video_id, items in listing.videos.items():
        video = videos[video_id]
        todo = []
        for wanted in _wanted(video_id, video, items, exact=exact):
            about = outputs.finished(wanted.stem, wanted.made_from)
            made[wanted.stem] = (wanted, about or {})
            if about is None:
                todo.append(wanted)
        try:
            for number, result in enumerate(_cut(video, todo, outputs, exact=exact), start=1):
                if isinstance(result, str):
                    failed[f"{video_id} {_span(todo[number - 1].item)}"] = result
                else:
                    made[todo[number - 1].stem] = (todo[number - 1], result)
                report((done + number) / total, f"{done + number}/{counted(total, 'clip')}")
        except VideoError as error:
            failed[video_id] = str(error)
        done += len(items)
        report(done / total, f"{done}/{counted(total, 'clip')}")
    there = [(wanted, about) for wanted, about in made.values() if about]
    _write_table(outputs, [wanted.row(about, scored=listing.scored) for wanted, about in there])
    early = [wanted.item.segment[0] - about["start"] for wanted, about in there if "start" in about]
    return failed, max([0.0, *early])


def _wanted(video_id: str, video: VideoFile, items: Sequence[Detection], *, exact: bool) -> list[_Wanted]:
    """Return the clips of a video; segments that are the same to a millisecond share one."""
    stamp = stamp_of(video.path)
    found: dict[str, _Wanted] = {}
    for item in items:
        start, end = item.segment
        stem = f"{file_name_of(item.label)}/{file_name_of(video_id)}_{start:.3f}-{end:.3f}"
        found.setdefault(stem, _Wanted(video_id, item, stem, [stamp, start, end, exact]))
    return list(found.values())


def _cut(video: VideoFile, todo: Sequence[_Wanted], outputs: Outputs, *, exact: bool) -> Iterator[dict[str, Any] | str]:
    """Yield for each clip what is known about it, or why there is none."""
    if not todo:
        return
    outputs.folder.mkdir(parents=True, exist_ok=True)
    with temporary_folder(outputs.folder / "cut") as folder:
        cuts = [Cut(*wanted.item.segment, str(folder / str(n)), exact) for n, wanted in enumerate(todo)]
        results = cut_video(cached(video.path), cuts, video.frame_rate)
        for cut, wanted, result in zip(cuts, todo, results, strict=True):
            if result.failure:
                yield result.failure
                continue
            about = {"start": result.start, "end": result.end}
            try:
                yield outputs.publish(Path(cut.out), wanted.stem + result.suffix, wanted.made_from, about)
            except OccupiedError as error:
                yield str(error)


def _span(item: Detection) -> str:
    return f"{item.segment[0]:.3f}-{item.segment[1]:.3f} {item.label}"


def _write_table(outputs: Outputs, rows: Sequence[Sequence[object]]) -> None:
    outputs.write_text(TABLE, table(_COLUMNS, rows))
