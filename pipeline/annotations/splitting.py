"""Choose videos for validation: whole videos, every label on both sides where that is possible."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from pipeline.annotations.model import AMBIGUOUS, canonical_subset
from pipeline.annotations.raw import RawAnnotations, RawVideo
from pipeline.text.plain import counted, first_of

SHARE = 0.2
_USUAL = {"training", "validation"}
_SHOWN = 5
_TRIED = 200  # videos that are compared for each choice


@dataclass(frozen=True)
class Split:
    """The result of `split`.

    Args:
        validation: ids of the chosen videos, sorted.
        one_sided: labels that only one side has.
    """

    validation: tuple[str, ...]
    one_sided: tuple[str, ...]

    def text(self) -> str:
        """Return what was chosen, on one line."""
        odd = f"labels on one side only: {first_of(self.one_sided, _SHOWN)}"
        names = first_of(self.validation, _SHOWN)
        many = counted(len(self.validation), "video", "is", "are")
        return f"{many} for validation ({names}); {odd if self.one_sided else 'every label is on both sides'}"


def split(labels: Mapping[str, Collection[str]], *, share: float = SHARE, seed: int = 0) -> Split:
    """Choose videos for validation; the same labels, share and seed give the same choice.

    Rare labels are given a validation video first, by the video that brings most labels that are still missing. A video
    stays in training if it is the last there with one of its labels. Then further videos are chosen so that the labels
    are spread as in all videos. For the labels' sake up to twice as many videos are chosen as the share says, at most
    half of all.

    Args:
        labels: of each video, by id.
        share: of the videos, more than 0 and less than 1; at least one video is chosen of two or more.
    """
    order = sorted(labels)
    random.Random(seed).shuffle(order)
    sets = {video: set(labels[video]) for video in order}
    total = Counter(label for found in sets.values() for label in found)
    wanted = min(max(1, round(share * len(order))), len(order) // 2)
    most = min(2 * wanted, len(order) // 2)
    chosen: set[str] = set()
    held: Counter[str] = Counter()

    def free() -> Iterator[str]:
        """Yield the videos that are not the last in training with one of their labels."""
        for video in order:
            if video not in chosen and all(held[label] + 1 < total[label] for label in sets[video]):
                yield video

    def choose(video: str) -> None:
        chosen.add(video)
        held.update(sets[video])

    for label in sorted((label for label in total if total[label] > 1), key=lambda label: (total[label], label)):
        able = [video for video in free() if label in sets[video]]
        if able and not held[label] and len(chosen) < most:
            choose(max(able, key=lambda video: sum(not held[other] for other in sets[video])))
    while len(chosen) < wanted and (able := list(islice(free(), _TRIED))):
        goal = (len(chosen) + 1) / len(order)
        # What the square of each label's distance from its goal grows by.
        choose(min(able, key=lambda video: sum(1 + 2 * (held[n] - goal * total[n]) for n in sets[video])))
    one_sided = sorted(label for label in total if not 0 < held[label] < total[label])
    return Split(tuple(sorted(chosen)), tuple(one_sided))


def with_split(raw: RawAnnotations, *, share: float, seed: int) -> tuple[RawAnnotations, Split]:
    """Return the values with all videos in training or validation, but those for testing, and the choice."""
    pool = [video for video in raw.videos if not _is(video, "testing")]
    chosen = split({video.id: _labels(video) for video in pool}, share=share, seed=seed)
    return _named(raw, chosen, {video.id for video in pool}), chosen


def with_validation(raw: RawAnnotations, subsets: Collection[str] | None) -> RawAnnotations:
    """Return the values with a subset validation: if the file has none, a choice of its training videos, noted.

    Args:
        subsets: those in use; nothing is chosen unless validation is among them, and training at most besides.
    """
    wanted = {canonical_subset(name) for name in subsets or ()}
    if "validation" not in wanted or not wanted <= _USUAL or any(_is(video, "validation") for video in raw.videos):
        return raw
    pool = {video.id: _labels(video) for video in raw.videos if _is(video, "training") or _is(video, "")}
    chosen = split(pool)
    if not chosen.validation:
        return raw
    note = f"no subset is named validation: {chosen.text()}"
    return replace(_named(raw, chosen, pool), losses=(note, *raw.losses))


def _named(raw: RawAnnotations, chosen: Split, pool: Collection[str]) -> RawAnnotations:
    names = dict.fromkeys(pool, "training") | dict.fromkeys(chosen.validation, "validation")
    return replace(raw, videos=[replace(video, subset=names.get(video.id, video.subset)) for video in raw.videos])


def _is(video: RawVideo, subset: str) -> bool:
    name = video.subset or ""
    return isinstance(name, str) and canonical_subset(name) == subset


def _labels(video: RawVideo) -> set[str]:
    return {str(segment.label).strip() for segment in video.segments} - {AMBIGUOUS}
