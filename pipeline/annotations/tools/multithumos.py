"""MultiTHUMOS: a text file for each class, `<Class>.txt`, with lines `<video id> <start> <end>` in seconds.

Source: the README of the annotations at http://ai.stanford.edu/~syyeung/everymoment.html. Videos named
`video_validation_…` are for training there, `video_test_…` for testing; their subsets are THUMOS14's.
"""

from __future__ import annotations

import re

from pipeline.annotations.content import Content
from pipeline.annotations.raw import RawAnnotations
from pipeline.annotations.tools.gather import Gather

_ID = re.compile(r"video_(validation|test)_\d+")


def recognizes(content: Content) -> bool:
    """Return whether the first line is a video's id of THUMOS14 and two times."""
    words = next((line.split() for line in content.lines if line.strip()), [])
    return len(words) == 3 and _ID.fullmatch(words[0]) is not None


def translate(content: Content) -> RawAnnotations:
    """Return the segments of the file's class."""
    found, label = Gather("multithumos"), content.path.stem
    for line, text in enumerate(content.lines, start=1):
        words = text.split()
        if not words:
            continue
        matched = _ID.fullmatch(words[0])
        if len(words) != 3 or matched is None:
            found.fault(f"line {line}", f"expected a video id, start and end, got {text.strip()!r:.80}")
            continue
        found.video(words[0], subset=matched[1])
        found.segment(words[0], (words[1], words[2]), label, where=f"line {line}")
    return found.result("these files have no durations and do not name videos without segments")
