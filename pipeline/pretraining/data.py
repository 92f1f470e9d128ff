"""Trimmed clips as training input: a cache of small frames, random windows from it, reproducible augmentation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from encoders.spec import EncoderSpec
from pipeline.cluster.cores import usable_cores
from pipeline.errors import PipelineError
from pipeline.pretraining.annotated_segments import span_frames
from pipeline.pretraining.clips import Clip, Whole, clip_frames
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.task import TaskBatch
from pipeline.snippets import SnippetPlan, exact
from pipeline.storage.atomic_files import whole_file
from pipeline.video.errors import VideoError
from pipeline.video.metadata import probe
from sola.distributed import Team

_LEAST_AREA = 0.4  # share of the picture that a random crop keeps at least
_STEPS_AHEAD = 2
_JITTER = 0.3  # largest change of brightness and contrast


@dataclass(frozen=True)
class CachedClip:
    """A clip with its frames in a file: uint8 [frames, h, w, 3] on the spec's grid, with the short side scaled."""

    file: Path
    place: int  # index of its label
    frames: int


def cache_clips(
    clips: Sequence[Clip], labels: Sequence[str], spec: EncoderSpec, folder: Path, report: Callable[[int], None]
) -> tuple[list[CachedClip], dict[str, str]]:
    """Cache the clips' frames in `folder`, and return the cached clips and the failures by path.

    A video with several clips is decoded once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {clip: frames_file(clip, spec, folder) for clip in clips}
    failed: dict[str, str] = {}
    done = 0
    for path in dict.fromkeys(clip.path for clip in clips):
        of_path = [clip for clip in files if clip.path == path]
        try:
            for clip, frames in _frames_of([clip for clip in of_path if not files[clip].exists()], spec):
                with whole_file(files[clip]) as partial, partial.open("wb") as stream:
                    np.save(stream, frames, allow_pickle=False)
        except VideoError as error:
            failed[str(path)] = str(error)
        done += len(of_path)
        report(done)
    there = [(clip, file) for clip, file in files.items() if file.exists()]
    return [CachedClip(file, labels.index(clip.label), _length(file)) for clip, file in there], failed


def frames_file(clip: Clip, spec: EncoderSpec, folder: Path) -> Path:
    stat = clip.path.stat()
    facts = f"{clip.path.resolve()} {stat.st_size} {stat.st_mtime_ns} {spec.fps} {size_facts(spec)}"
    if clip.span is not None:
        facts += f" {clip.span}"
    return folder / f"{sha256(facts.encode()).hexdigest()[:24]}.npy"


def size_facts(spec: EncoderSpec) -> str:
    """Return what scaled frames of a video depend on, for the names of their files."""
    if spec.fixed_size is None and spec.interpolation == "bilinear":
        return f"{spec.short_side}"
    return f"{spec.short_side} {spec.fixed_size} {spec.interpolation}"


def _frames_of(clips: Sequence[Clip], spec: EncoderSpec) -> Iterator[tuple[Clip, NDArray[np.uint8]]]:
    """Yield the small frames, uint8 [F, h, w, 3], of the clips of one file, whole or parts, each as soon as it ends."""
    if not clips:
        return
    path = clips[0].path
    size = Whole.for_encoder(spec, probe(path).display_size)
    spans = [clip.span for clip in clips if clip.span is not None]
    for place, frames in span_frames(path, spans, fps=spec.fps, size=size) if spans else ():
        yield next(clip for clip in clips if clip.span == spans[place]), frames
    for clip in clips:
        if clip.span is None:
            yield clip, clip_frames(path, fps=spec.fps, size=size)


def _length(file: Path) -> int:
    return len(np.load(file, mmap_mode="r", allow_pickle=False))


def cells_of(spec: EncoderSpec) -> tuple[int, ...]:
    """Return the frames of a window that the network uses, the same as in extraction."""
    window = Fraction(spec.window_frames)
    plan = SnippetPlan(fps=exact(spec.fps), window_frames=window, stride_frames=window, num_frames=spec.num_frames)
    return plan.cells


def training_batches(
    clips: Sequence[CachedClip], spec: EncoderSpec, *, config: PretrainConfig, epoch: int, team: Team
) -> Iterator[TaskBatch]:
    """Yield this rank's part of the batches of an epoch, every clip once, in random order.

    Equal seeds and epochs give equal batches. A last batch of a single clip is left out, since batch norm cannot use
    it.

    Yields:
        Pixels with a random window and a random view of each clip; the target `place`, int64 [N], of label indices.
    """
    steps = shuffled_steps(len(clips), batch_size=config.batch_size, seed=[config.seed, epoch], team=team)

    def render(place: int) -> Tensor:
        rng = np.random.default_rng([config.seed, epoch, place])
        clip = clips[place]
        start = int(rng.integers(max(0, clip.frames - spec.window_frames) + 1))
        return random_view(window(clip, spec, start), rng, spec.crop_size)

    for step, pixels in rendered(steps, render):
        targets = {"place": torch.tensor([clips[i].place for i in step.places])}
        yield TaskBatch(pixels, targets, step.share)


@dataclass(frozen=True)
class Step:
    """The samples of one rank in an optimizer step, and their share of all samples of the step."""

    places: tuple[int, ...]
    share: float


def shuffled_steps(count: int, *, batch_size: int, seed: Sequence[int], team: Team) -> list[Step]:
    """Return the steps of an epoch: `count` samples in random order, each once, shared among the ranks.

    A last step with less than two samples for each rank is left out.

    Raises:
        PipelineError: the batch has less than two samples for each rank.
    """
    if batch_size < 2 * team.size:
        raise PipelineError(f"batch_size must be >= {2 * team.size} for {team.size} processes, got {batch_size}")
    order = np.random.default_rng(list(seed)).permutation(count).tolist()
    batches = [order[start : start + batch_size] for start in range(0, count, batch_size)]
    if len(batches) > 1 and len(batches[-1]) < 2 * team.size:
        batches.pop()
    shards = [(batch[team.shard(len(batch))], len(batch)) for batch in batches]
    return [Step(tuple(shard), len(shard) / number) for shard, number in shards]


def rendered(steps: Sequence[Step], render: Callable[[int], Tensor]) -> Iterator[tuple[Step, Tensor]]:
    """Yield each step with its samples' pixels, uint8 [N, ...], made by threads a few steps ahead.

    Args:
        render: returns the pixels of one sample.
    """
    threads = max(1, min(4, usable_cores() - 1))
    with ThreadPoolExecutor(max_workers=threads) as pool:
        begun: deque[list[Future[Tensor]]] = deque()
        for number in range(len(steps) + _STEPS_AHEAD):
            if number < len(steps):
                begun.append([pool.submit(render, place) for place in steps[number].places])
            if number >= _STEPS_AHEAD:
                yield steps[number - _STEPS_AHEAD], torch.stack([job.result() for job in begun.popleft()])


@dataclass(frozen=True)
class View:
    """How to show a picture: its crop, whether it is mirrored, and factors of brightness and contrast."""

    top: int
    left: int
    side: int
    mirrored: bool
    brightness: float
    contrast: float

    @classmethod
    def draw(cls, rng: np.random.Generator, height: int, width: int) -> View:
        """Return a random view of pictures of this size."""
        side = round(np.sqrt(rng.uniform(_LEAST_AREA, 1.0)) * min(height, width))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        mirrored = bool(rng.random() < 0.5)
        brightness, contrast = rng.uniform(1 - _JITTER, 1 + _JITTER, 2)
        return cls(top, left, side, mirrored, float(brightness), float(contrast))

    def of(self, frames: Tensor, size: int) -> Tensor:
        """Return the frames, uint8 [F, h, w, 3], in this view, uint8 [F, size, size, 3]."""
        pictures = frames.permute(0, 3, 1, 2)
        cropped = (self.top, self.left, self.side, self.side)
        pictures = transforms.resized_crop(pictures, *cropped, [size, size], antialias=True)
        if self.mirrored:
            pictures = transforms.horizontal_flip(pictures)
        pictures = transforms.adjust_contrast(transforms.adjust_brightness(pictures, self.brightness), self.contrast)
        return pictures.permute(0, 2, 3, 1).contiguous()


def random_view(frames: Tensor, rng: np.random.Generator, size: int) -> Tensor:
    """Return frames, uint8 [F, h, w, 3], in one random view for all, uint8 [F, size, size, 3]."""
    return View.draw(rng, *frames.shape[1:3]).of(frames, size)


def held_out_windows(clip: CachedClip, spec: EncoderSpec, *, count: int) -> Tensor:
    """Return `count` windows spread evenly over a clip, center-cropped as in extraction, [count, F, S, S, 3]."""
    last = max(0, clip.frames - spec.window_frames)
    starts = [round(last * (2 * k + 1) / (2 * count)) for k in range(count)]
    pictures = torch.stack([window(clip, spec, start) for start in starts])
    top, left, size = spec.crop_box(pictures.shape[2], pictures.shape[3])
    return pictures[:, :, top : top + size, left : left + size].contiguous()


def window(clip: CachedClip, spec: EncoderSpec, start: int) -> Tensor:
    """Return the network's frames of the window that begins at frame `start`, uint8 [F, h, w, 3].

    If the clip is shorter than the window, its last frame is repeated.
    """
    frames = np.load(clip.file, mmap_mode="r", allow_pickle=False)
    places = [min(start + cell, len(frames) - 1) for cell in cells_of(spec)]
    return torch.from_numpy(np.ascontiguousarray(frames[places]))
