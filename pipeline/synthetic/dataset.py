"""A folder of synthetic videos and their annotations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError
from pipeline.snippets import exact
from pipeline.storage.atomic_files import whole_file, write_json, write_new_json
from pipeline.storage.read_files import read_json
from pipeline.synthetic.drawing import ACTIONS, background
from pipeline.synthetic.plan import SyntheticSettings, SyntheticVideo, annotations_of, plan_videos
from pipeline.video.write import write_video

ANNOTATIONS_NAME = "annotations.json"
SETTINGS_NAME = "synthetic.json"


def make_synthetic_dataset(folder: Path, settings: SyntheticSettings) -> Path:
    """Make a synthetic data set in `folder`, or complete it, and return the path of its annotations.

    The folder gets one `<id>.mp4` for each video, the settings (`synthetic.json`) and, once all videos are complete,
    the annotations (`annotations.json`, ActivityNet dialect). The same settings give the same videos.

    Args:
        folder: created if absent; an unfinished set with the same settings is completed, a complete one is kept.

    Raises:
        PipelineError: the folder holds a set with other settings.
    """
    _claim_folder(folder, settings)
    plans = plan_videos(settings)
    missing = [plan for plan in plans if not _video_path(folder, plan).exists()]
    # Drawing and encoding release Python's lock, so threads are enough; map cancels the rest if one fails.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(lambda plan: _make_video(_video_path(folder, plan), plan, settings), missing):
            pass
    annotations = folder / ANNOTATIONS_NAME
    truth = annotations_of(plans, fps=exact(settings.fps))
    if missing or not annotations.exists():
        write_json(annotations, truth)
    return annotations


def _video_path(folder: Path, plan: SyntheticVideo) -> Path:
    return folder / f"{plan.id}.mp4"


def _claim_folder(folder: Path, settings: SyntheticSettings) -> None:
    path, wanted = folder / SETTINGS_NAME, asdict(settings)
    if not path.exists():
        if folder.exists() and any(folder.glob("*.mp4")):
            raise PipelineError(f"{folder} holds videos already; choose another folder for the synthetic ones")
        write_new_json(path, wanted)  # unless another process writes it at this moment
    found = read_json(path, what="settings of synthetic videos")
    if isinstance(found, dict):
        found = {"visibility": 1.0, **found}  # older sets lack it
    if found != wanted:
        differing = [name for name in wanted if not isinstance(found, dict) or found.get(name) != wanted[name]]
        raise PipelineError(
            f"{folder} holds synthetic videos with other settings ({', '.join(differing) or 'unknown ones'}); "
            "choose another folder, or delete this one"
        )


def draw_frames(plan: SyntheticVideo, settings: SyntheticSettings) -> Iterator[np.ndarray]:
    """Yield the pictures of a video, uint8 [H, W, 3] RGB."""
    rng = np.random.default_rng([settings.seed, plan.index, 1])
    fps = float(exact(settings.fps))
    picture_at = background(rng, settings.height, settings.width)
    starts = {action.first_frame: action for action in plan.actions}
    action, draw = None, None
    for number in range(plan.frames):
        frame = picture_at(number / fps)
        if number in starts:
            action = starts[number]
            draw = ACTIONS[action.label](rng, settings.height, settings.width)
        if action and draw and number < action.end_frame:
            shown = frame.copy()
            draw(shown, (number - action.first_frame) / fps)
            frame = _mixed(frame, shown, settings.visibility)
        yield frame


def _mixed(behind: np.ndarray, shown: np.ndarray, visibility: float) -> np.ndarray:
    """Blend two pictures, uint8 [H, W, 3]; `visibility` is the weight of `shown`."""
    if visibility == 1:
        return shown
    return np.rint(behind + visibility * (shown.astype(np.float32) - behind)).astype(np.uint8)


def _make_video(path: Path, plan: SyntheticVideo, settings: SyntheticSettings) -> None:
    with whole_file(path) as partial:
        pictures = draw_frames(plan, settings)
        write_video(partial, pictures, height=settings.height, width=settings.width, fps=exact(settings.fps))
