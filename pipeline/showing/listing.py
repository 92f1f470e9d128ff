"""The segments of a file, detections or ground truth, and the choice of those to show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.annotations import read_annotations
from pipeline.annotations.detections import read_detections, read_external_data
from pipeline.annotations.segments import Detection
from pipeline.errors import PipelineError
from pipeline.showing.config import ShowConfig
from pipeline.storage.read_files import read_json

# Where a file of detections says which score its model proposes for showing.
PROPOSED_SCORE = "proposed_score"
_BEST = 10  # of each video, if nothing says which detections are good


@dataclass(frozen=True)
class Listing:
    """Segments by video id.

    Args:
        videos: in the file's order; ground truth has the score 1.
        scored: whether they are detections. Ground truth has no scores.
        proposed_score: the score of best F1 on the validation videos of the model; None if the file does not say.
        durations: seconds, of the videos whose duration is known.
        notes: what the user should know about the file.
    """

    videos: Mapping[str, Sequence[Detection]]
    scored: bool = True
    proposed_score: float | None = None
    durations: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def count(self) -> int:
        """Return the number of segments."""
        return sum(map(len, self.videos.values()))

    def only(self, video_ids: Sequence[str]) -> Listing:
        """Return the listing of these videos."""
        return replace(self, videos={i: self.videos[i] for i in video_ids})


def read_listing(path: Path) -> Listing:
    """Return the segments in a file of detections or of ground truth.

    Raises:
        PipelineError: it is neither, or has faults.
    """
    if path.suffix.lower() == ".json" and _has_detections(read_json(path, what="detections or annotations")):
        proposed = read_external_data(path).get(PROPOSED_SCORE)
        is_score = isinstance(proposed, (int, float)) and not isinstance(proposed, bool) and 0 <= proposed <= 1
        return Listing(read_detections(path), proposed_score=proposed if is_score else None)
    truth = read_annotations(path, subsets=())  # a fault in one video costs only its segment
    return Listing(
        {i: [Detection(s.segment, s.label, 1.0) for s in video.segments] for i, video in truth.videos.items()},
        scored=False,
        durations={i: video.duration for i, video in truth.videos.items() if video.duration is not None},
        notes=truth.problems,
    )


def _has_detections(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("results"), dict)


def choose(listing: Listing, config: ShowConfig) -> tuple[Listing, str]:
    """Return the segments to show, of each video by their time, and a line on a choice that the user did not make.

    Raises:
        PipelineError: a label that no segment has, or a score for ground truth, which has none.
    """
    known = sorted({item.label for items in listing.videos.values() for item in items})
    if unknown := [label for label in config.labels if label not in known]:
        raise PipelineError(f"labels must be labels of the file ({', '.join(known[:20])}), got {unknown[0]!r}")
    if config.min_score is not None and not listing.scored:
        raise PipelineError("min_score must not be given for ground truth, which has no scores")
    min_score, most, line = config.min_score, config.max_per_video, ""
    if listing.scored and min_score is None:
        min_score = listing.proposed_score
        if min_score is not None:
            line = f"shown are detections with a score of {min_score:.3g} or more, the best F1 on the validation videos"
        elif most is None and config.max_per_label is None:
            most, line = _BEST, f"shown are the best {_BEST} detections of each video; --min-score chooses others"
    chosen = {}
    for video_id, items in listing.videos.items():
        wanted = [item for item in items if not config.labels or item.label in config.labels]
        good = [item for item in wanted if min_score is None or item.score >= min_score]
        chosen[video_id] = sorted(good, key=lambda item: -item.score)[:most]
    if config.max_per_label is not None:
        chosen = _best_of_each_label(chosen, config.max_per_label)
    if most == _BEST and sum(map(len, chosen.values())) == listing.count():
        line = ""
    ordered = {i: sorted(items, key=lambda item: (item.segment, item.label)) for i, items in chosen.items()}
    return replace(listing, videos=ordered), line


def _best_of_each_label(videos: Mapping[str, Sequence[Detection]], most: int) -> dict[str, list[Detection]]:
    """Return the `most` segments of highest score of each label; of equal scores those of the earlier videos."""
    ranked = sorted(((i, item) for i, items in videos.items() for item in items), key=lambda pair: -pair[1].score)
    taken: dict[str, int] = defaultdict(int)
    best: dict[str, list[Detection]] = {video_id: [] for video_id in videos}
    for video_id, item in ranked:
        if taken[item.label] < most:
            taken[item.label] += 1
            best[video_id].append(item)
    return best
