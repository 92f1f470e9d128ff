"""The verdict at the top of a report: the ways side by side, with deviations, and what can be said about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.metrics.best_score import TIOU
from pipeline.metrics.found_segments import FoundSegments, found_segments
from pipeline.metrics.resampling import resampled_maps
from pipeline.report.facts import WITH, WITHOUT, ReportFacts
from pipeline.report.tables import Table
from pipeline.report.text import percent
from pipeline.text.plain import counted

FEW_VIDEOS = 10  # fewer rank nothing
_SHOWN_CHANGES = 30


@dataclass(frozen=True)
class Change:
    """An annotated segment that one way finds and another does not."""

    video: str
    start: float
    end: float
    label: str
    way: str


@dataclass(frozen=True)
class Verdict:
    """What the top of the page says.

    Args:
        sentences: the comparison in words.
        warnings: why to doubt it.
        table: a row a way.
        tious, maps, deviations: of the plot: [N], and of each way [N].
        changes: segments that only one of the first two ways finds, those of the first before those of the second.
        more_changes: how many are left out.
        score: where the page's slider begins: the main way's score of best F1.
    """

    sentences: list[str]
    warnings: list[str]
    table: Table
    tious: tuple[float, ...]
    maps: Mapping[str, np.ndarray]
    deviations: Mapping[str, np.ndarray]
    changes: list[Change]
    more_changes: int
    score: float


def verdict(facts: ReportFacts) -> Verdict | None:
    """Return the verdict on the ways of a report; None without evaluations."""
    if not facts.evaluations:
        return None
    first = next(iter(facts.evaluations.values()))
    name = next(iter(name for name in ("own", "thumos") if name in first.results))
    tious = first.results[name].tious
    columns = dict.fromkeys([*tious, 0.5])
    resampled = resampled_maps(
        first.truth,
        {way: evaluation.found for way, evaluation in facts.evaluations.items()},
        tious=list(columns),
        protocol=first.results[name].protocol,
    )
    averages = {way: np.nanmean(values[:, : len(tious)], axis=1) for way, values in resampled.items()}
    found = {
        way: found_segments(evaluation.truth, evaluation.found, protocol=first.results[name].protocol)
        for way, evaluation in facts.evaluations.items()
    }
    at_half = list(columns).index(0.5)
    changes = _changes(found)
    return Verdict(
        sentences=_sentences(facts, name, averages, found),
        warnings=_warnings(first.videos),
        table=_table(facts, name, averages, {way: values[:, at_half] for way, values in resampled.items()}, found),
        tious=tious,
        maps={way: evaluation.results[name].map for way, evaluation in facts.evaluations.items()},
        deviations={way: np.nanstd(values[:, : len(tious)], axis=0) for way, values in resampled.items()},
        changes=changes[:_SHOWN_CHANGES],
        more_changes=max(0, len(changes) - _SHOWN_CHANGES),
        score=next(iter(found.values())).score,
    )


def _warnings(videos: int) -> list[str]:
    if videos >= FEW_VIDEOS:
        return []
    return [
        f"Only {counted(videos, 'video')} could be evaluated. So few rank nothing: differences between the rows below "
        f"are as likely chance as not. Take at least {FEW_VIDEOS}, better some dozens."
    ]


def _sentences(
    facts: ReportFacts, name: str, averages: Mapping[str, np.ndarray], found: Mapping[str, FoundSegments]
) -> list[str]:
    ways = list(facts.evaluations)
    first = facts.evaluations[ways[0]]
    low, high = min(first.results[name].tious), max(first.results[name].tious)
    where = f"{counted(first.videos, 'video')} of subset {first.subset}"
    main = first.results[name].average
    sentences = [
        f"mAP {_words(ways[0], 'of')}: {percent(main)} ± {percent(float(np.nanstd(averages[ways[0]])))} % on {where}, "
        f"averaged over tIoU {low:g} to {high:g}."
    ]
    total = sum(map(len, first.truth.values()))
    for way in ways[1:]:
        gain = main - facts.evaluations[way].results[name].average
        spread = float(np.nanstd(averages[ways[0]] - averages[way]))
        sentences.append(f"That is {_difference(gain, spread, way)}{_meaning(gain, spread, first.videos)}")
        both = len(found[ways[0]].segments & found[way].segments)
        only = [len(found[a].segments - found[b].segments) for a, b in ((ways[0], way), (way, ways[0]))]
        rest = total - both - sum(only)
        sentences.append(
            f"Of {counted(total, 'annotated segment')}, {both} are found by both, {only[0]} only "
            f"{_words(ways[0], 'by')}, {only[1]} only {_words(way, 'by')}, and {rest} not at all."
        )
    return sentences


def _difference(gain: float, spread: float, way: str) -> str:
    if percent(abs(gain)) == "0.0":
        return f"the same as {_words(way, 'of')} (± {percent(spread)} points)"
    return f"{percent(abs(gain))} ± {percent(spread)} points {'more' if gain > 0 else 'less'} than {_words(way, 'of')}"


def _meaning(gain: float, spread: float, videos: int) -> str:
    if videos < FEW_VIDEOS:
        return ", on too few videos to tell."
    if abs(gain) > 2 * spread:
        return ": more than twice the deviation over the videos. Another seed of the head may still move it."
    return ": less than twice the deviation over the videos, so these videos do not tell which is better."


def _table(
    facts: ReportFacts,
    name: str,
    averages: Mapping[str, np.ndarray],
    halves: Mapping[str, np.ndarray],
    found: Mapping[str, FoundSegments],
) -> Table:
    """Return a row for each way: scores with deviations, and how many segments it finds."""
    first = next(iter(facts.evaluations.values())).results[name]
    wide = facts.evaluations[next(iter(facts.evaluations))].results["activitynet"]
    header = [
        "detections",
        f"mAP, tIoU {min(first.tious):g} to {max(first.tious):g}, %",
        "mAP, tIoU 0.5, %",
        f"mAP, tIoU {min(wide.tious):g} to {max(wide.tious):g}, %",
        f"segments found at tIoU {TIOU:g}",
        "best F1, %",
        "at score",
    ]
    rows = []
    for way, evaluation in facts.evaluations.items():
        broad = evaluation.results["activitynet"]
        half = float(broad.map[broad.tious.index(0.5)])
        total = sum(map(len, evaluation.truth.values()))
        rows.append(
            [
                way,
                f"{percent(evaluation.results[name].average)} ± {percent(float(np.nanstd(averages[way])))}",
                f"{percent(half)} ± {percent(float(np.nanstd(halves[way])))}",
                percent(broad.average),
                f"{len(found[way].segments)} of {total}",
                percent(found[way].f1),
                f"{found[way].score:.3f}",
            ]
        )
    return Table("", header, rows)


def _changes(found: Mapping[str, FoundSegments]) -> list[Change]:
    if len(found) < 2:
        return []
    (one, first), (two, second) = list(found.items())[:2]
    return [
        Change(*segment, way)
        for way, segments in ((one, first.segments - second.segments), (two, second.segments - first.segments))
        for segment in sorted(segments)
    ]


def _words(way: str, preposition: str) -> str:
    """Return "with SoLa" as it is, and "by NAME" for a file."""
    return way if way.startswith((WITH, WITHOUT, "after ")) else f"{preposition} {way}"
