"""EPIC-KITCHENS: `EPIC_100_train.csv` and `EPIC_100_validation.csv`, an action a line.

The label is verb and noun, `open door`. Several verbs are one class of the challenge ("take", "pick up"): where
`EPIC_100_verb_classes.csv` and `EPIC_100_noun_classes.csv` lie beside the file, as in their repository, the names of
the classes are taken. The subset is the word train, validation or test in the file's name.

Source: https://github.com/epic-kitchens/epic-kitchens-100-annotations, README.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.annotations.content import Content
from pipeline.annotations.raw import RawAnnotations
from pipeline.annotations.tools.gather import Gather
from pipeline.annotations.tools.names import seconds_of
from pipeline.annotations.tools.table import rows
from pipeline.storage.read_files import read_text

_NEEDED = ("video_id", "start_timestamp", "stop_timestamp", "verb", "noun")
_CLASSES = ("verb_class", "noun_class")
_SUBSETS = {"train": "training", "validation": "validation", "test": "testing"}


def recognizes(content: Content) -> bool:
    """Return whether the first row has the columns of these files."""
    first = next(rows(content.lines), (0, []))
    return set(_NEEDED) <= set(first[1])


def translate(content: Content) -> RawAnnotations:
    """Return the actions of a file."""
    found, lines = Gather("epic-kitchens"), rows(content.lines)
    _, names = next(lines)
    known = [_class_names(content.path.with_name(f"EPIC_100_{name}es.csv")) for name in _CLASSES]
    subset = next((subset for word, subset in _SUBSETS.items() if word in content.path.stem.lower()), None)
    for line, cells in lines:
        where = f"line {line}"
        if len(cells) != len(names):
            found.fault(where, f"expected {len(names)} columns, got {len(cells)}")
            continue
        row = dict(zip(names, map(str.strip, cells), strict=True))
        video, start, end, verb, noun = (row[name] for name in _NEEDED)
        if not video:
            found.fault(where, "it names no video")
            continue
        words = [
            classes.get(row.get(name, ""), word)
            for classes, name, word in zip(known, _CLASSES, (verb, noun), strict=True)
        ]
        found.video(video, subset=subset)
        label = " ".join(words) if all(words) else ""
        found.segment(video, (seconds_of(start), seconds_of(end)), label, where=where)
    note = (
        "verbs and nouns are labels as they are: EPIC_100_verb_classes.csv and EPIC_100_noun_classes.csv are not here"
    )
    return found.result() if all(known) else found.result(note)


def _class_names(file: Path) -> dict[str, str]:
    """Return the names of classes by number; empty if the file is not there."""
    if not file.is_file():
        return {}
    lines = rows(read_text(file, what="annotations").splitlines())
    next(lines, None)
    return {cells[0].strip(): cells[1].strip() for _, cells in lines if len(cells) > 1}
