"""Match annotated videos with videos that have features."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pipeline.annotations.model import Annotations, VideoAnnotations
from pipeline.errors import PipelineError
from pipeline.text.plain import counted, first_of

_PREFIX = "v_"  # in ActivityNet's file names, but not in the keys of its annotation file


@dataclass(frozen=True)
class Match:
    """Video ids, each tuple sorted."""

    both: tuple[str, ...]
    only_in_annotations: tuple[str, ...]
    only_in_store: tuple[str, ...]

    def message(self) -> str:
        """Return one line: how many videos match, how many do not, with up to three examples."""
        parts = [f"{counted(len(self.both), 'video', 'has', 'have')} annotations and features"]
        if names := self.only_in_annotations:
            parts.append(f"{len(names)} annotated without features ({first_of(names)})")
        if names := self.only_in_store:
            parts.append(f"{len(names)} with features but not annotated ({first_of(names)})")
        return "; ".join(parts)


def match(annotations: Annotations, ids: Iterable[str]) -> Match:
    """Compare the annotated videos with `ids`, the videos of a store."""
    annotated, stored = set(annotations.videos), set(ids)
    return Match(
        both=tuple(sorted(annotated & stored)),
        only_in_annotations=tuple(sorted(annotated - stored)),
        only_in_store=tuple(sorted(stored - annotated)),
    )


def adopt_ids(annotations: Annotations, ids: Iterable[str]) -> Annotations:
    """Return the annotations, renamed to the store's ids where only the spelling of an id differs.

    Two ids match if they differ only by ActivityNet's `v_` prefix, or in the code points of the same letters (é as
    one code point, or as e and an accent, as some systems write file names). Ids that `ids` contains, or contains in
    no such form, stay as they are.

    Raises:
        PipelineError: two annotated videos would get the same id.
    """
    known = names_by_form(ids)
    videos: dict[str, VideoAnnotations] = {}
    by_prefix, by_letters = [], []
    for old, video in annotations.videos.items():
        new = find_name(old, known) or old
        if new in videos:
            raise PipelineError(f"annotations: {old!r} and {videos[new].id!r} are both the video {new!r}; keep one")
        videos[new] = replace(video, id=new)
        if new == old:
            continue
        if _composed(new) == _composed(old):
            by_letters.append(f"{old!a} is {new!a}")  # they look the same, so print the code points
        else:
            by_prefix.append(f"{old} is {new}")
    lines = []
    if by_prefix:
        names = first_of(by_prefix)
        many = counted(len(by_prefix), "video", "uses", "use")
        lines.append(f"{many} the store's id, which differs by the prefix {_PREFIX!r} ({names})")
    if by_letters:
        names = first_of(by_letters)
        many = counted(len(by_letters), "video", "uses", "use")
        lines.append(f"{many} the store's id, which has other code points for the same letters ({names})")
    return replace(annotations, videos=videos, problems=(*annotations.problems, *lines)) if lines else annotations


def names_by_form(names: Iterable[str]) -> dict[str, str]:
    """Return the names by themselves and by their composed form, without forms that several names share."""
    names = list(names)
    counts = Counter(map(_composed, names))
    return {form: name for name in names if counts[form := _composed(name)] == 1} | {name: name for name in names}


def find_name(name: str, known: Mapping[str, str]) -> str | None:
    """Return the name in `known` that is `name`, or differs only by the prefix `v_` or in code points; else None.

    Args:
        known: from `names_by_form`.
    """
    other = name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else _PREFIX + name
    forms = (name, other, _composed(name), _composed(other))
    return next((known[form] for form in forms if form in known), None)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
