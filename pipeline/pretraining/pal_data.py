"""The videos of the task "after PAL": which are used, which stretches of long ones, and which are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError
from pipeline.pretraining.classify import cache_sides, clip_facts
from pipeline.pretraining.clips import Clip
from pipeline.pretraining.data import CachedClip
from pipeline.pretraining.pal import PalTask
from pipeline.pretraining.pal_plan import ClipGrid
from pipeline.pretraining.task import Request
from pipeline.progress import Report
from pipeline.storage.location import local
from pipeline.text.plain import counted
from pipeline.video.errors import VideoError
from pipeline.video.find import find_videos
from pipeline.video.metadata import probe

LEAST_HELD_OUT = 3  # a source and its two backgrounds
_STRETCH_SPANS = 3  # length of a stretch of a long video, in synthetic videos


def plan_pal(request: Request) -> PalPlan:
    """Return the videos that are long enough, a share of them held out.

    Raises:
        PipelineError: there are annotations, too few videos, or max_video_seconds is shorter than a synthetic video.
    """
    config, spec = request.config, request.spec
    if request.annotations is not None:
        raise PipelineError(f"the task pal learns without labels; leave out --annotations {request.annotations}")
    shortest, most = ClipGrid.of(spec, config.pal).length / spec.fps, config.pal.max_video_seconds
    if most < shortest:
        raise PipelineError(
            f"pal.max_video_seconds must be >= {shortest:.4g}, the length of a synthetic video of {config.pal.clips} "
            f"clips of {spec.name}, got {most:g}"
        )
    failed: dict[str, str] = {}
    usable: dict[str, list[Clip]] = {}
    for video in find_videos([request.source]):
        path = local(video.path)
        try:
            usable[video.id] = stretches_of(path, video.id, float(probe(path).duration), shortest=shortest, most=most)
        except VideoError as error:
            failed[str(path)] = str(error)
    return PalPlan(request, usable, failed)


def stretches_of(path: Path, name: str, duration: float, *, shortest: float, most: float) -> list[Clip]:
    """Return the stretches of a video to use: all of it, or evenly spread ones, `most` seconds together.

    Raises:
        VideoError: the video is shorter than a synthetic video, `shortest` seconds.
    """
    if duration < shortest:
        raise VideoError("too_short", _too_short(duration, shortest))
    if duration <= most:
        return [Clip(path, name, name)]
    count = max(1, int(most // (_STRETCH_SPANS * shortest)))
    length, part = most / count, duration / count
    starts = [part * k + (part - length) / 2 for k in range(count)]
    return [Clip(path, name, name, (start, start + length)) for start in starts]


def _too_short(seconds: float, shortest: float) -> str:
    return f"{seconds:.3g} s, a synthetic video has {shortest:.3g} s; lower --pal.clips"


@dataclass(frozen=True)
class PalPlan:
    """The stretches of the videos to use, and the reasons why others are not.

    Args:
        usable: for each video its stretches.
        failed: path → reason of the other videos.
    """

    request: Request
    usable: dict[str, list[Clip]]
    failed: dict[str, str]

    @property
    def facts(self) -> list[list[object]]:
        """What tells these videos from others, as JSON values."""
        return clip_facts([stretch for name in sorted(self.usable) for stretch in self.usable[name]])

    @property
    def files(self) -> Sequence[Path]:
        """The files of the videos."""
        return [stretches[0].path for _, stretches in sorted(self.usable.items())]

    def prepare(self, folder: Path, report: Report) -> PalTask:
        """Cache the small frames of the stretches in `folder`, and return the task.

        Raises:
            PipelineError: there are too few videos, or too few of them can be read.
        """
        spec, config = self.request.spec, self.request.config
        names = self._sides()
        sides = [[stretch for name in of_side for stretch in self.usable[name]] for of_side in names]
        self._require_enough([len(of_side) for of_side in names], self.failed)
        cached, failed = cache_sides(sides, sorted(self.usable), spec, folder, report)
        length = ClipGrid.of(spec, config.pal).length
        videos, failed = [], self.failed | failed
        for of_side, there in zip(names, cached, strict=True):
            by_video: dict[int, list[CachedClip]] = {}
            for stretch in there:  # decoding tells the exact length
                if stretch.frames >= length:
                    by_video.setdefault(stretch.place, []).append(stretch)
            for name in of_side:
                path = str(self.usable[name][0].path)
                if sorted(self.usable).index(name) not in by_video and path not in failed:
                    failed[path] = str(VideoError("too_short", f"its frames end early; {length} in a row are needed"))
            videos.append(list(by_video.values()))
        self._require_enough([len(side) for side in videos], failed)
        shortened = sum(stretches[0].span is not None for stretches in self.usable.values())
        return PalTask(videos[0], videos[1], spec, config, shortened=shortened, failed=failed)

    def _sides(self) -> tuple[list[str], list[str]]:
        """Return the names of the videos to learn from, and of those held out."""
        names, config = sorted(self.usable), self.request.config
        number = min(len(names), max(LEAST_HELD_OUT, round(config.validation_share * len(names))))
        apart = np.random.default_rng(config.seed).permutation(len(names))[:number].tolist()
        held_out = [names[place] for place in sorted(apart)]
        return [name for name in names if name not in set(held_out)], held_out

    def _require_enough(self, numbers: list[int], failed: dict[str, str]) -> None:
        """Raise a PipelineError if there are too few videos for a step, or for a test."""
        sources = self.request.config.pal.sources
        if numbers[0] >= sources and numbers[1] >= LEAST_HELD_OUT:
            return
        reason = f" ({counted(len(failed), 'other video')} unusable: {next(iter(failed.values()))})" if failed else ""
        raise PipelineError(
            f"{self.request.source} has {counted(numbers[0], 'usable video')} to learn from and {numbers[1]} held out"
            f"{reason}; the task pal needs {sources} (--pal.sources) and {LEAST_HELD_OUT}: give more videos, or lower "
            "--pal.sources or --validation-share"
        )
