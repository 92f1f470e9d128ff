"""Which videos have both annotations and features, and which have only one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.annotations.model import Annotations, VideoAnnotations
from pipeline.errors import PipelineError
from pipeline.plain_text import counted

_PREFIX = "v_"  # ActivityNet's files carry it, the keys of its annotation file do not


@dataclass(frozen=True)
class Match:
    """Video ids, each tuple sorted."""

    both: tuple[str, ...]
    only_in_annotations: tuple[str, ...]
    only_in_store: tuple[str, ...]

    def message(self) -> str:
        """One line: how many videos match, and counts and up to three examples of those that do not."""
        parts = [f"{counted(len(self.both), 'video', 'has', 'have')} annotations and features"]
        if names := self.only_in_annotations:
            parts.append(f"{len(names)} annotated without features ({_some(names)})")
        if names := self.only_in_store:
            parts.append(f"{len(names)} with features but not annotated ({_some(names)})")
        return "; ".join(parts)


def match(annotations: Annotations, ids: Iterable[str]) -> Match:
    """Compares the annotated videos with ``ids``, the videos of a store."""
    annotated, stored = set(annotations.videos), set(ids)
    return Match(
        both=tuple(sorted(annotated & stored)),
        only_in_annotations=tuple(sorted(annotated - stored)),
        only_in_store=tuple(sorted(stored - annotated)),
    )


def adopt_ids(annotations: Annotations, ids: Iterable[str]) -> Annotations:
    """The annotations under the store's ids where the two differ only by ActivityNet's ``v_`` prefix.

    Ids that ``ids`` has already, or has in neither form, stay as they are.

    Raises:
        PipelineError: two annotated videos would get one id.
    """
    stored = set(ids)
    videos: dict[str, VideoAnnotations] = {}
    renamed = []
    for old, video in annotations.videos.items():
        other = old[len(_PREFIX) :] if old.startswith(_PREFIX) else _PREFIX + old
        new = other if old not in stored and other in stored else old
        if new in videos:
            raise PipelineError(f"annotations: {old!r} and {videos[new].id!r} are both the video {new!r}; keep one")
        videos[new] = replace(video, id=new)
        if new != old:
            renamed.append(f"{old} is {new}")
    if not renamed:
        return annotations
    many = counted(len(renamed), "video", "goes", "go")
    line = f"{many} by the store's id, which differs by the prefix {_PREFIX!r} ({_some(renamed)})"
    return replace(annotations, videos=videos, problems=(*annotations.problems, line))


def _some(names: Sequence[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
