"""What `localize` prints of its detections: the best of each video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.annotations.segments import Detection
from pipeline.showing.timeline import milliseconds, time_code
from pipeline.text.plain import counted
from pipeline.text.table import table_text

_OF_EACH, _VIDEOS = 3, 10


def found_table(found: Mapping[str, Sequence[Detection]], proposed_score: float | None) -> str:
    """Return a table of the best detections of each video; empty if there are none.

    Args:
        found: by video id, best first.
        proposed_score: show only detections with this score or more, if some have it.
    """
    good = {i: [item for item in items if item.score >= (proposed_score or 0.0)] for i, items in found.items()}
    title = f"The best {_OF_EACH} of each video"
    if proposed_score is not None and any(good.values()):
        title += f", with scores of {proposed_score:.3g} or more (the best F1 on the validation videos)"
        found = good
    elif proposed_score is not None:
        title += f"; none has a score of {proposed_score:.3g} (the best F1 on the validation videos)"
    shown = {video_id: items[:_OF_EACH] for video_id, items in found.items() if items}
    if not shown:
        return ""
    rows = [
        [video_id, item.label, *(time_code(max(0, milliseconds(b))) for b in item.segment), f"{item.score:.3f}"]
        for video_id, items in list(shown.items())[:_VIDEOS]
        for item in items
    ]
    if len(shown) > _VIDEOS:
        title += f", of {_VIDEOS} videos; {counted(len(shown) - _VIDEOS, 'more video', 'has', 'have')} detections"
    return table_text(title, ["video", "label", "start", "end", "score"], rows, figures=False)
