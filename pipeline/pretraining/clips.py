"""Trimmed clips: their files, labels and groups."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.spec import EncoderSpec
from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan, exact
from pipeline.storage.location import local
from pipeline.storage.read_files import read_text
from pipeline.text.plain import counted
from pipeline.video.decode import Backend, Chunk, decode
from pipeline.video.errors import VideoError
from pipeline.video.find import find_videos
from pipeline.video.metadata import probe
from pipeline.video.report import DecodeReport, refuse_damaged

MAX_CORRUPT = 0.05


@dataclass(frozen=True)
class Clip:
    """A trimmed clip: it shows `label` from its first to its last frame.

    Clips of one `group` share a scene or a person, so they must be on the same side of a split. `span` is its
    (start, end) in seconds if the clip is a part of an untrimmed video, None if it is the whole file.
    """

    path: Path
    label: str
    group: str
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class Whole:
    """A size rule: scale a picture to cover `height` x `width` pixels, and keep all of it.

    If it is stretched, it gets just this size, whatever its aspect ratio.
    """

    height: int
    width: int
    interpolation: str = "bilinear"
    stretched: bool = False

    @classmethod
    def for_encoder(cls, spec: EncoderSpec, display_size: tuple[int, int]) -> Whole:
        """Return the rule for pictures of this height and width, to be scaled as an encoder wants them."""
        return cls(*spec.resized(*display_size), spec.interpolation, spec.fixed_size is not None)

    @property
    def crop_size(self) -> int:
        return max(self.height, self.width)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        if self.stretched:
            return self.height, self.width
        scale = max(self.height / height, self.width / width)
        return max(self.height, round(height * scale)), max(self.width, round(width * scale))

    def crop_box(self, height: int, width: int) -> tuple[int, int, int]:
        return 0, 0, max(height, width)


def find_clips(source: Path, *, group_pattern: str) -> list[Clip]:
    """Return the clips in class folders, or in a CSV file, ordered by path.

    Args:
        source: a folder with one folder of videos for each class; or a CSV file with the columns path (relative to the
            file's own folder), label, and optionally group.
        group_pattern: regular expression whose first group, found in the file's name, is the clip's group; a clip
            without a match is a group of its own.

    Raises:
        PipelineError: no clips, one class only, or a bad file or pattern.
    """
    try:
        pattern = re.compile(group_pattern)
    except re.error as error:
        raise PipelineError(f"group_pattern must be a regular expression, got {group_pattern!r}: {error}") from None
    if pattern.groups < 1:
        raise PipelineError(f"group_pattern must have a group in parentheses, got {group_pattern!r}")
    clips = list(_from_csv(source, pattern) if source.is_file() else _from_folders(source, pattern))
    if len({clip.label for clip in clips}) < 2:
        raise PipelineError(
            f"{source} must hold clips of two classes or more, in a folder for each class (or a CSV file with path and "
            f"label), got {counted(len(clips), 'clip')} of {counted(len({clip.label for clip in clips}), 'class')}"
        )
    return sorted(clips, key=lambda clip: str(clip.path))


def _from_folders(source: Path, pattern: re.Pattern[str]) -> Iterator[Clip]:
    if not source.is_dir():
        raise PipelineError(f"clips: no folder {source}")
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        try:
            videos = find_videos([folder], ids="path")
        except PipelineError:  # a folder without videos is no class
            continue
        for video in videos:
            path = local(video.path)
            yield Clip(path, folder.name, _group_of(path, pattern))


def _from_csv(file: Path, pattern: re.Pattern[str]) -> Iterator[Clip]:
    reader = csv.DictReader(io.StringIO(read_text(file, what="clips"), newline=""))
    try:
        if not {"path", "label"} <= set(reader.fieldnames or ()):
            raise PipelineError(f"{file} must have the columns path and label, got {reader.fieldnames}")
        for number, row in enumerate(reader, start=2):
            path = file.parent / (row["path"] or "")
            if not path.is_file():
                raise PipelineError(f"{file}, line {number}: no file {path}")
            if not (row["label"] or "").strip():
                raise PipelineError(f"{file}, line {number}: no label; say what the clip shows")
            yield Clip(path, row["label"].strip(), row.get("group") or _group_of(path, pattern))
    except csv.Error as error:
        raise PipelineError(f"clips: cannot read {file}: {error}") from None


def _group_of(path: Path, pattern: re.Pattern[str]) -> str:
    found = pattern.search(path.name)
    return found[1] if found and found[1] else path.stem


def split_by_group(clips: Sequence[Clip], *, share: float, seed: int) -> tuple[list[Clip], list[Clip]]:
    """Return the clips for training and those for validation; no group is in both.

    Groups go to validation in random order until it has `share` of the clips; each class must end up in both.

    Raises:
        PipelineError: the share is not between 0 and 1, or a class has too few groups.
    """
    if not 0 < share < 1:
        raise PipelineError(f"validation_share must be > 0 and < 1, got {share}")
    groups = sorted({clip.group for clip in clips})
    order = [groups[place] for place in np.random.default_rng([seed, 7]).permutation(len(groups))]
    sizes = {group: sum(clip.group == group for clip in clips) for group in groups}
    held_out: set[str] = set()
    for group in order:
        if sum(sizes[name] for name in held_out) >= share * len(clips):
            break
        held_out.add(group)
    training = [clip for clip in clips if clip.group not in held_out]
    validation = [clip for clip in clips if clip.group in held_out]
    refuse_one_sided(clips, training, validation)
    return training, validation


def refuse_one_sided(clips: Sequence[Clip], training: Sequence[Clip], validation: Sequence[Clip]) -> None:
    """Reject a split in which a class of `clips` is not on both sides.

    Raises:
        PipelineError: it names the classes.
    """
    lacking = {clip.label for clip in clips} - ({c.label for c in training} & {c.label for c in validation})
    if lacking:
        raise PipelineError(
            f"with {len({clip.group for clip in clips})} groups the classes {sorted(lacking)} are not on both sides of "
            "the split; give more clips, another --seed, --validation-share or --group-pattern"
        )


def clip_frames(path: Path, *, fps: float, size: Whole) -> NDArray[np.uint8]:
    """Return a clip's frames on a grid of `fps` a second, uint8 [F, height, width, 3], RGB; F = ceil(seconds * fps).

    Pictures are scaled to cover the size and cropped to it around their center.

    Args:
        size: height and width.

    Raises:
        VideoError: the clip cannot be decoded.
    """
    rate = exact(fps)
    one = exact(1)
    plan = SnippetPlan(fps=rate, window_frames=one, stride_frames=one, num_frames=1)
    info = probe(path)
    kept: list[NDArray[np.uint8]] = []
    shown: list[int] = []
    for item in decode(info, plan, size, backend=Backend("pyav")):
        if isinstance(item, Chunk):
            kept.extend(np.ascontiguousarray(cut(frame, size.height, size.width)) for frame in item.frames)
            shown.extend(snippet.ordinals[0] for snippet in item.snippets)
        elif isinstance(item, DecodeReport):
            refuse_damaged(info, item, max_corrupt=MAX_CORRUPT)
    if not shown:
        raise VideoError("too_short", "it has no frames")
    return np.stack([kept[ordinal] for ordinal in shown])


def count_frames(path: Path, *, fps: float) -> int:
    """Return F of `clip_frames`, without decoding.

    Raises:
        VideoError: the clip cannot be read.
    """
    one = exact(1)
    return SnippetPlan(fps=exact(fps), window_frames=one, stride_frames=one, num_frames=1).count(probe(path).duration)


def cut(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return the middle of a picture, [height, width, 3], as a view."""
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]
