"""Pictures of segments that were found without labels: a contact sheet of each kind, each video's self-similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.annotations.segments import Segment
from pipeline.config import TsmConfig
from pipeline.plots.contact_sheet import Cell, draw_contact_sheet
from pipeline.plots.figures import save_figure
from pipeline.plots.segment_map import draw_segment_map
from pipeline.plots.segments import draw_segments
from pipeline.plots.tsm import tsm_view
from pipeline.progress import Report, silent
from pipeline.stages.segment import FoundSegment, Segmented, label_of
from pipeline.storage.file_names import file_name_of
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore
from pipeline.text.plain import counted
from pipeline.video.errors import VideoError
from pipeline.video.find import Ids, find_videos
from pipeline.video.helper import Helper
from pipeline.video.stills import ask_for_stills, stills_helper
from pipeline.video.videos import VideoFile

_SHOWN = 12  # segments of a kind on its sheet
_HEIGHT = 180  # pixels of a picture
_BINS = 600  # cells along an axis of the self-similarity


def draw_kinds(found: Segmented, videos: Mapping[str, VideoFile], out: Path, *, report: Report = silent) -> list[str]:
    """Draw OUT/kinds/kind_1.png and so on: the middles of the segments that are most typical of each kind.

    Args:
        videos: by video id.

    Returns:
        Lines on the pictures that could not be made.
    """
    (out / "kinds").mkdir(parents=True, exist_ok=True)
    notes: dict[str, str] = {}
    for old in (out / "kinds").glob("kind_*.png"):  # of an earlier run, which may have found more kinds
        old.unlink()
    with stills_helper() as helper:
        for kind in range(1, found.kinds + 1):
            of = found.of_kind(kind)
            shown = _varied(of)
            cells: dict[tuple[str, FoundSegment], Cell] = {}
            for video_id, group in groupby(sorted(shown, key=lambda pair: pair[0]), key=lambda pair: pair[0]):
                cells |= _cells(video_id, [one for _, one in group], videos.get(video_id), helper, notes)
            name = f"{label_of(kind)}: {counted(len(of), 'segment')} in {counted(len({i for i, _ in of}), 'video')}"
            save_figure(
                draw_contact_sheet(name, [cells[video_id, one] for video_id, one in shown]),
                [out / "kinds" / f"{label_of(kind).replace(' ', '_')}.png"],
            )
            report(kind / found.kinds, f"{kind}/{found.kinds} contact sheets")
    return [f"no picture of {video_id}: {reason}" for video_id, reason in sorted(notes.items())]


def draw_videos(found: Segmented, store: FeatureStore, out: Path, *, most: int, report: Report = silent) -> list[str]:
    """Draw OUT/self_similarity/ID.png of the first `most` videos; return a line if there are more."""
    ids = sorted(found.videos)[:most]
    labels = [label_of(kind) for kind in range(1, found.kinds + 1)]
    (out / "self_similarity").mkdir(parents=True, exist_ok=True)
    for number, video_id in enumerate(ids):
        view = tsm_view([store], video_id, TsmConfig(max_bins=_BINS, normalize="center"))
        segments = tuple(Segment(one.segment, label_of(one.kind)) for one in found.videos[video_id])
        file = out / "self_similarity" / f"{file_name_of(video_id)}.png"
        save_figure(draw_segments(replace(view, segments=segments), labels), [file])
        report((number + 1) / len(ids), f"{number + 1}/{len(ids)} self-similarities")
    more = len(found.videos) - len(ids)
    return [f"{counted(more, 'video')} not drawn; --max-pictures draws more"] if more and most else []


def draw_map(found: Segmented, out: Path) -> None:
    """Draw OUT/map.png: all segments on the plane of their principal axes."""
    places = {
        label_of(kind): np.array([one.place for _, one in found.of_kind(kind)]) for kind in range(1, found.kinds + 1)
    }
    save_figure(draw_segment_map(places), [out / "map.png"])


def files_of(inputs: Sequence[AnyPath], *, ids: Ids, frame_rate: float | None = None) -> dict[str, VideoFile]:
    """Return the videos by id; those in object storage are left out.

    Args:
        frame_rate: as for `find_videos`.
    """
    videos = find_videos(inputs, ids=ids, frame_rate=frame_rate)
    return {video.id: video for video in videos if isinstance(video.path, Path)}


def _varied(of: list[tuple[str, FoundSegment]]) -> list[tuple[str, FoundSegment]]:
    """Return the segments to show: the most typical ones, first one of each video, then the second of each."""
    seen: dict[str, int] = {}
    ranked = []
    for place, (video_id, one) in enumerate(of):
        seen[video_id] = seen.get(video_id, 0) + 1
        ranked.append((seen[video_id], place, (video_id, one)))
    return [pair for _, _, pair in sorted(ranked, key=lambda entry: entry[:2])[:_SHOWN]]


def _cells(
    video_id: str, segments: list[FoundSegment], video: VideoFile | None, helper: Helper, notes: dict[str, str]
) -> dict[tuple[str, FoundSegment], Cell]:
    """Return the cells of a video's segments; without pictures if it cannot be decoded, which is noted."""
    pictures: list[NDArray[np.uint8] | None] = [None] * len(segments)
    if video is None:
        notes[video_id] = "it is not among the videos given"
    else:
        try:
            middles = [sum(one.segment) / 2 for one in segments]
            path = Path(str(video.path))
            pictures = [*ask_for_stills(helper, path, middles, height=_HEIGHT, frame_rate=video.frame_rate)]
        except VideoError as error:
            notes[video_id] = str(error)
    return {
        (video_id, one): Cell(picture, f"{video_id} @ {one.segment[0]:.1f}-{one.segment[1]:.1f} s")
        for one, picture in zip(segments, pictures, strict=True)
    }
