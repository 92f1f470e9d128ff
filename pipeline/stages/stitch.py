"""Stage: trimmed clips → untrimmed videos with annotations that are exact to the frame."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.annotations import write_annotations
from pipeline.errors import PipelineError
from pipeline.pretraining.clips import (
    Clip,
    Whole,
    clip_frames,
    count_frames,
    find_clips,
    refuse_one_sided,
    split_by_group,
)
from pipeline.pretraining.config import StitchConfig
from pipeline.progress import Report, silent
from pipeline.snippets import exact
from pipeline.storage.atomic_files import whole_file, write_new_json
from pipeline.storage.read_files import read_json
from pipeline.synthetic import make_synthetic_dataset
from pipeline.synthetic.plan import SyntheticSettings
from pipeline.synthetic.stitch_plan import Piece, StitchedVideo, annotations_of, plan_videos
from pipeline.video.errors import VideoError
from pipeline.video.write import write_video
from sola.old_names import stored_settings

ANNOTATIONS_NAME = "annotations.json"
SETTINGS_NAME = "stitch.json"


@dataclass(frozen=True)
class StitchSummary:
    """The annotations file, the number of videos made now, and the clips that could not be read (path → reason)."""

    annotations: Path
    made: int
    failed: dict[str, str]


def stitch(source: Path | None, out: Path, config: StitchConfig, *, report: Report = silent) -> StitchSummary:
    """Make the videos and annotations in folder `out`; keep videos that exist.

    Args:
        source: trimmed clips, see `pipeline.pretraining.clips.find_clips`; None for procedural videos.
        report: gets the share of videos made, 0 to 1.

    Raises:
        PipelineError: there are too few clips, or `out` holds videos of other clips or settings.
    """
    if source is None:
        made = _count_videos(out)
        settings = SyntheticSettings(
            videos=config.videos,
            seed=config.seed,
            seconds=config.seconds,
            height=config.height,
            width=config.width,
            fps=str(exact(config.fps)),
            visibility=config.visibility,
        )
        annotations = make_synthetic_dataset(out, settings)
        return StitchSummary(annotations, _count_videos(out) - made, {})
    clips = find_clips(source, group_pattern=config.group_pattern)
    lengths, failed = _lengths(clips, config.fps)
    # The split includes unreadable clips, so that its groups are those of `pretrain`, whichever clips fail.
    split = split_by_group(clips, share=config.validation_share, seed=config.seed)
    training, validation = ([clip for clip in side if clip.path in lengths] for side in split)
    usable = [clip for clip in clips if clip.path in lengths]
    refuse_one_sided(clips, training, validation)
    plans = plan_videos({"training": training, "validation": validation}, lengths, config)
    _claim(out, stored_settings(config), {_name(clip, source): lengths[clip.path] for clip in usable})
    missing = [plan for plan in plans if not (out / f"{plan.id}.mp4").exists()]
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        jobs = [pool.submit(_make, out / f"{plan.id}.mp4", plan, config) for plan in missing]
        try:
            for number, job in enumerate(as_completed(jobs), start=1):
                job.result()
                report(number / len(jobs), f"{number}/{len(jobs)} videos")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    write_annotations(out / ANNOTATIONS_NAME, annotations_of(plans, fps=exact(config.fps)))
    return StitchSummary(out / ANNOTATIONS_NAME, len(missing), failed)


def _count_videos(folder: Path) -> int:
    return len(list(folder.glob("*.mp4")))


def _lengths(clips: list[Clip], fps: float) -> tuple[dict[Path, int], dict[str, str]]:
    """Return the number of frames of each clip, and the errors of clips that cannot be read, by path."""
    lengths: dict[Path, int] = {}
    failed: dict[str, str] = {}
    for clip in clips:
        try:
            lengths[clip.path] = count_frames(clip.path, fps=fps)
        except VideoError as error:
            failed[str(clip.path)] = str(error)
    return lengths, failed


def _name(clip: Clip, source: Path) -> str:
    root = source if source.is_dir() else source.parent
    return str(clip.path.relative_to(root)) if clip.path.is_relative_to(root) else str(clip.path)


def _claim(out: Path, settings: dict[str, Any], clips: dict[str, int]) -> None:
    """Record these settings and clips (name → frames) in `out`; refuse if it belongs to others."""
    file = out / SETTINGS_NAME
    of_clips = {name: value for name, value in settings.items() if name != "visibility"}
    as_read = {name: list(value) if isinstance(value, tuple) else value for name, value in of_clips.items()}
    wanted = {"settings": as_read, "clips": clips}
    if not file.exists():
        if out.exists() and any(out.glob("*.mp4")):
            raise PipelineError(f"{out} holds videos already; choose another --out")
        write_new_json(file, wanted)  # unless another process writes it first
    if read_json(file, what="settings of stitched videos") != wanted:
        raise PipelineError(f"{out} holds videos stitched from other clips or settings; choose another --out")


def _make(path: Path, plan: StitchedVideo, config: StitchConfig) -> None:
    with whole_file(path) as partial:
        frames = stitched_frames(plan, config)
        write_video(partial, frames, height=config.height, width=config.width, fps=exact(config.fps))


def stitched_frames(plan: StitchedVideo, config: StitchConfig) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a video, uint8 [H, W, 3]; at most two pieces are in memory."""
    fade = plan.fade_frames
    before: NDArray[np.uint8] | None = None  # the end of the previous piece, which fades out
    for piece in plan.pieces:
        frames = _piece_frames(piece, plan, config)
        for number in range(fade if before is not None else 0):
            assert before is not None
            share = (number + 1) / (fade + 1)
            mixed = before[number] * (1 - share) + frames[number] * share
            yield np.rint(mixed).astype(np.uint8)
        yield from frames[fade if before is not None else 0 : len(frames) - fade]
        before = frames[len(frames) - fade :]
    if before is not None:
        yield from before


def _piece_frames(piece: Piece, plan: StitchedVideo, config: StitchConfig) -> NDArray[np.uint8]:
    """Return the frames of a piece, uint8 [piece.frames, H, W, 3]."""
    frames = clip_frames(piece.path, fps=config.fps, size=Whole(config.height, config.width))
    if piece.footage == "still":
        return np.repeat(frames[piece.first : piece.first + 1], piece.frames, axis=0)
    part = frames[piece.first : piece.first + piece.frames]
    if len(part) != piece.frames:
        raise PipelineError(f"{piece.path} has changed meanwhile: it has {len(frames)} frames now")
    if piece.footage == "shuffled":
        part = part[np.random.default_rng([config.seed, plan.index, piece.first]).permutation(len(part))]
    return part[::-1] if piece.footage == "reversed" else part
