"""Protocols: the choices in which published evaluations of temporal action localization differ.

Sources: activitynet: eval_detection.py and eval_proposal.py (github activitynet/ActivityNet at 82304fa); actionformer:
libs/utils/metrics.py (github happyharrycn/actionformer_release at 61ea7eb); opentad: opentad/evaluations (github
sming256/OpenTAD at 3dd7b03); thumos: TH14evaldet.m and TH14eventdetpr.m of the THUMOS 2014 kit.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipeline.annotations.segments import Detection, Segment
from pipeline.errors import PipelineError
from pipeline.text.plain import counted

ACTIVITYNET_TIOUS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
THUMOS_TIOUS = (0.3, 0.4, 0.5, 0.6, 0.7)

# Segments of one video and label whose boundaries both differ by at most this are duplicates.
DUPLICATE_SECONDS = 1e-3
# The smallest number above 0: segments at least this long are not empty.
ANY_LENGTH_SECONDS = math.ulp(0.0)
AMBIGUOUS_LABEL = "Ambiguous"


@dataclass(frozen=True)
class Protocol:
    """One way to evaluate.

    `tious`: default thresholds. `removes_duplicates`: of ground-truth segments within 1e-3 s only the first counts.
    `takes_blocked`: whether a list of blocked videos is accepted. `forgives_ambiguous`: segments labeled Ambiguous are
    not a class; detections that match nothing else and overlap one are not counted. `shortest_seconds`: shorter ground
    truth is left out; with 0, segments of length 0 count, as missed. `counts_other_videos`: detections on videos
    outside the ground truth are false positives.
    """

    tious: tuple[float, ...]
    removes_duplicates: bool
    takes_blocked: bool
    forgives_ambiguous: bool = False
    shortest_seconds: float = 0.0
    counts_other_videos: bool = True

    @property
    def rules(self) -> tuple[str, ...]:
        """The choices in words, for --help and for reports of results."""
        return (
            "duplicate ground truth (within 1e-3 s): " + ("removed" if self.removes_duplicates else "kept"),
            "detections of classes that are not in the ground truth: ignored and counted",
            "detections on videos without ground truth: false positives",
            "detections of videos outside the subset: "
            + ("false positives" if self.counts_other_videos else "left out and counted"),
            "ground truth of no length: "
            + {0.0: "missed", ANY_LENGTH_SECONDS: "left out"}.get(
                self.shortest_seconds, f"left out, as all below {self.shortest_seconds:g} s"
            ),
            "blocked videos: " + ("left out when listed" if self.takes_blocked else "none"),
            "segments labeled Ambiguous: "
            + ("neither positives nor false positives" if self.forgives_ambiguous else "a class like any other"),
            "equal scores: by sorted video id, then in the video's order",
        )


PROTOCOLS: dict[str, Protocol] = {
    # This project's own: ActivityNet's definition, restricted to the videos of the subset and to non-empty segments.
    "sola": Protocol(
        ACTIVITYNET_TIOUS,
        removes_duplicates=False,
        takes_blocked=True,
        shortest_seconds=ANY_LENGTH_SECONDS,
        counts_other_videos=False,
    ),
    "activitynet": Protocol(ACTIVITYNET_TIOUS, removes_duplicates=False, takes_blocked=True),
    "actionformer": Protocol(
        THUMOS_TIOUS, removes_duplicates=True, takes_blocked=False, shortest_seconds=DUPLICATE_SECONDS
    ),
    "opentad": Protocol(THUMOS_TIOUS, removes_duplicates=True, takes_blocked=True, shortest_seconds=ANY_LENGTH_SECONDS),
    "thumos": Protocol(THUMOS_TIOUS, removes_duplicates=False, takes_blocked=False, forgives_ambiguous=True),
}


@dataclass(frozen=True)
class Prepared:
    """What a protocol evaluates: the ground truth and detections that count, and the `ambiguous` segments.

    `duplicates_removed`, `short_removed` (segments) and `videos_blocked` count what was removed.
    """

    ground_truth: Mapping[str, Sequence[Segment]]
    detections: Mapping[str, Sequence[Detection]]
    ambiguous: Mapping[str, Sequence[Segment]]
    duplicates_removed: int
    short_removed: int
    videos_blocked: int


def find_protocol(name: str) -> Protocol:
    """Return the protocol called `name`.

    Raises:
        PipelineError: there is none.
    """
    if name not in PROTOCOLS:
        raise PipelineError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {name!r}")
    return PROTOCOLS[name]


def prepare(
    ground_truth: Mapping[str, Sequence[Segment]],
    detections: Mapping[str, Sequence[Detection]],
    *,
    protocol: str,
    blocked_videos: Collection[str] = (),
) -> Prepared:
    """Return ground truth and detections after the protocol's choices; does not change the arguments.

    Raises:
        PipelineError: the protocol is unknown, or does not accept `blocked_videos`.
    """
    chosen = find_protocol(protocol)
    if blocked_videos and not chosen.takes_blocked:
        raise PipelineError(
            f"blocked_videos must be empty for protocol={protocol}, got {counted(len(blocked_videos), 'video')}"
        )
    blocked = set(blocked_videos)
    truth = {video: rows for video, rows in ground_truth.items() if video not in blocked}
    found = {video: rows for video, rows in detections.items() if video not in blocked}
    ambiguous: dict[str, list[Segment]] = {}
    if chosen.forgives_ambiguous:
        ambiguous = {video: [s for s in rows if s.label == AMBIGUOUS_LABEL] for video, rows in truth.items()}
        truth = {video: [s for s in rows if s.label != AMBIGUOUS_LABEL] for video, rows in truth.items()}
    if not chosen.counts_other_videos:
        found = {video: rows for video, rows in found.items() if video in truth}
    given = _count(truth)
    truth = {video: [s for s in rows if _length(s) >= chosen.shortest_seconds] for video, rows in truth.items()}
    long_enough = _count(truth)
    if chosen.removes_duplicates:
        truth = {video: without_duplicates(rows) for video, rows in truth.items()}
    return Prepared(
        truth,
        found,
        ambiguous,
        duplicates_removed=long_enough - _count(truth),
        short_removed=given - long_enough,
        videos_blocked=len(blocked & {*ground_truth, *detections}),
    )


def _count(segments: Mapping[str, Sequence[Segment]]) -> int:
    return sum(map(len, segments.values()))


def _length(segment: Segment) -> float:
    start, end = segment.segment
    return end - start


def without_duplicates(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments of one video without those that repeat an earlier one of the same label within 1e-3 s."""
    kept: list[Segment] = []
    for segment in segments:
        if not any(_same(segment, other) for other in kept):
            kept.append(segment)
    return kept


def _same(one: Segment, other: Segment) -> bool:
    return one.label == other.label and all(
        abs(a - b) <= DUPLICATE_SECONDS for a, b in zip(one.segment, other.segment, strict=True)
    )
