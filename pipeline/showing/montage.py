"""Join the best clips of each label into one video, OUT/LABEL.mp4, with subtitles that say where each is from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from pipeline.annotations.segments import Detection
from pipeline.progress import Report
from pipeline.showing.cutter import Cut, cut_video
from pipeline.showing.listing import Listing
from pipeline.showing.outputs import OccupiedError, Outputs
from pipeline.showing.texts import srt_text
from pipeline.showing.timeline import milliseconds, time_code
from pipeline.storage.atomic_files import temporary_folder
from pipeline.storage.file_names import file_name_of
from pipeline.storage.local import cached
from pipeline.storage.stamps import stamp_of
from pipeline.text.plain import counted
from pipeline.video.errors import VideoError
from pipeline.video.videos import VideoFile

DEFAULT_CLIPS = 20  # of a label
_PICTURE = (360, 640, 25)  # height, width, frames a second
_MAX_SECONDS = 10.0  # of a clip: its middle


@dataclass(frozen=True)
class _Part:
    """A clip of a montage: its video, its segment, and the part `[start, end)` of it that is shown."""

    video_id: str
    item: Detection
    start: float
    end: float


def make_montages(
    listing: Listing, videos: Mapping[str, VideoFile], outputs: Outputs, *, report: Report
) -> dict[str, str]:
    """Write a montage for each label that has none yet; return the videos and clips that failed, with the reasons.

    The clips of highest score come first; all get one size and rate, and no sound.

    Args:
        videos: by video id, all that the listing has.
        report: gets the share of clips done, 0 to 1.
    """
    stamps = {video_id: stamp_of(videos[video_id].path) for video_id in listing.videos}
    todo = {}
    for label, parts in _parts_by_label(listing).items():
        made_from = _made_from(parts, stamps)
        if outputs.finished(file_name_of(label), made_from) is None:
            todo[label] = parts
    if not todo:
        return {}
    outputs.folder.mkdir(parents=True, exist_ok=True)
    with temporary_folder(outputs.folder / "montage") as folder:
        files, failed = _cut_all([part for parts in todo.values() for part in parts], videos, folder, report)
        for label, parts in todo.items():
            there = [part for part in parts if part in files]
            if not there:
                continue
            starts = join_videos([files[part] for part in there], folder / "joined")
            name = file_name_of(label)
            try:
                outputs.write_text(f"{name}.srt", _captions(there, starts, scored=listing.scored))
                outputs.publish(folder / "joined", f"{name}.mp4", _made_from(there, stamps))
            except OccupiedError as error:
                failed[label] = str(error)
    return failed


def _parts_by_label(listing: Listing) -> dict[str, list[_Part]]:
    found: dict[str, list[_Part]] = defaultdict(list)
    for video_id, items in listing.videos.items():
        for item in items:
            start, end = item.segment
            cut = max(0.0, end - start - _MAX_SECONDS) / 2
            found[item.label].append(_Part(video_id, item, start + cut, end - cut))
    return {label: sorted(found[label], key=lambda part: -part.item.score) for label in sorted(found)}


def _made_from(parts: Sequence[_Part], stamps: Mapping[str, Any]) -> list[Any]:
    return [_PICTURE, [[stamps[part.video_id], part.start, part.end] for part in parts]]


def _cut_all(
    parts: Sequence[_Part], videos: Mapping[str, VideoFile], folder: Path, report: Report
) -> tuple[dict[_Part, Path], dict[str, str]]:
    """Cut the parts, video by video; return their files, and what failed with the reasons."""
    by_video: dict[str, list[_Part]] = defaultdict(list)
    for part in parts:
        by_video[part.video_id].append(part)
    files: dict[_Part, Path] = {}
    failed: dict[str, str] = {}
    done = 0
    for video_id, those in by_video.items():
        cuts = [Cut(p.start, p.end, str(folder / f"{done + n}"), True, _PICTURE) for n, p in enumerate(those)]
        try:
            results = cut_video(cached(videos[video_id].path), cuts, videos[video_id].frame_rate)
            for part, cut, result in zip(those, cuts, results, strict=True):
                if result.failure:
                    failed[f"{video_id} {part.start:.3f}-{part.end:.3f} {part.item.label}"] = result.failure
                else:
                    files[part] = Path(cut.out)
                report(len(files) / len(parts), f"{len(files)}/{counted(len(parts), 'clip')}")
        except VideoError as error:
            failed[video_id] = str(error)
        done += len(those)
    return files, failed


def join_videos(files: Sequence[Path], out: Path) -> list[Fraction]:
    """Write videos that were encoded alike one after the other, without encoding them again.

    Returns:
        When each begins, and when the last ends, in seconds.
    """
    starts = [Fraction(0)]
    with av.open(str(out), "w", format="mp4") as joined:
        target = None
        for file in files:
            with av.open(str(file), format="mp4") as piece:
                stream = piece.streams.video[0]
                target = target or joined.add_stream_from_template(stream)
                end = Fraction(0)
                for packet in piece.demux(stream):
                    if packet.pts is None or packet.dts is None:
                        continue
                    time_base = packet.time_base
                    end = max(end, (packet.pts + (packet.duration or 0)) * time_base)
                    shift = round(starts[-1] / time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = target
                    joined.mux(packet)
                starts.append(starts[-1] + end)
    return starts


def _captions(parts: Sequence[_Part], starts: Sequence[Fraction], *, scored: bool) -> str:
    """Return subtitles that say which video and segment a clip is from, and its score."""
    captions = []
    for part, start, end in zip(parts, starts, starts[1:], strict=False):
        first, last = (time_code(milliseconds(bound)) for bound in part.item.segment)
        score = f", score {part.item.score:.2f}" if scored else ""
        text = f"{part.video_id}, {first} to {last}{score}"
        captions.append(Detection((float(start), float(end)), text, 1.0))
    return srt_text(Listing({"": captions}, scored=False), "")
