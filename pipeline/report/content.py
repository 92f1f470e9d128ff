"""What the page is filled with, key by key: the variables of its template, and the JSON that its scripts read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from pipeline.store.records import FailureRecord

if TYPE_CHECKING:
    from pipeline.report.curves import SolaCurve
    from pipeline.report.found_kinds import KindPictures
    from pipeline.report.pictures import Picture, TsmPictures
    from pipeline.report.tables import Table
    from pipeline.report.verdict import Verdict


class ComparedContent(TypedDict):
    """What `compare` found, with its picture beside the page."""

    sentence: str
    table: Table
    picture: Picture
    notes: Sequence[str]


class RunContent(TypedDict):
    """The variables of the template that only a run fills.

    Keys:
        tsms: self-similarities of some videos.
        stages: None without a run; all others are empty then.
        failures: (id, record) of failed videos; `more_failures` counts those left out.
        settings: groups of (name, value).
    """

    random_weights: bool
    sola: SolaCurve | None
    linear: Table | None
    tsms: Sequence[TsmPictures]
    stages: Table | None
    failures: Sequence[tuple[str, FailureRecord]]
    more_failures: int
    settings: Sequence[tuple[str, list[tuple[str, str]]]]


class PageContent(RunContent):
    """All variables of the template.

    Keys:
        cards: the few numbers at the top: (value, description).
        map_picture: mAP by tIoU; None without a verdict.
        heads: a sentence on each head's training.
        maps: AP by class, tables of each way.
        errors: how often each kind of error occurs; `meanings`: (kind, words); `error_pictures`: by way.
        places: number of each video in the list that can be played, by id.
        data: a `PageData` as JSON.
    """

    title: str
    cards: Sequence[tuple[str, str]]
    notes: Sequence[str]
    verdict: Verdict | None
    map_picture: Picture | None
    curves: Sequence[Picture]
    heads: Sequence[str]
    maps: Sequence[Table]
    errors: Table | None
    meanings: Sequence[tuple[str, str]]
    error_pictures: Mapping[str, Sequence[Picture]]
    data_set: Sequence[Table]
    places: Mapping[str, int]
    data: str
    compared: ComparedContent | None
    kinds: KindPictures | None


class VideoEntry(TypedDict):
    """A video in the list on the page.

    Keys:
        file: its script; None for a failed video.
        strip: the picture of its thumbnails; empty without.
        annotated: whether the annotations have it, perhaps without segments.
        truth: number of segments by class index.
        best: best score by class index, of each way.
        seen: whether the head was trained on it.
        failure: "kind: reason" of a failed video, otherwise None.
    """

    id: str
    file: str | None
    strip: str
    subset: str
    seconds: float | None
    rows: int
    annotated: bool
    truth: dict[int, int]
    best: dict[str, dict[int, float]]
    seen: bool
    failure: str | None


class Slider(TypedDict):
    """The scores that the page's slider goes over, and where it begins."""

    low: float
    high: float
    start: float


class PageData(TypedDict):
    """What the page's scripts know from the start.

    Keys:
        classes: their names, which a class index counts; `colors` has the color of each.
        ways: names of the sets of detections, the main one first.
    """

    videos: list[VideoEntry]
    classes: list[str]
    colors: list[str]
    ways: list[str]
    score: Slider


class VideoTimes(TypedDict):
    """What the script of one video holds.

    Keys:
        address: of its file or its playable copy, for the page; None if it is unknown.
        note: why browsers may not play it; empty if they do.
        copied: whether the address is that of a copy.
        truth: [start, end, class index] of each annotated segment, in seconds.
        found: [start, end, class index, score] of each detection, by way.
    """

    id: str
    address: str | None
    note: str
    copied: bool
    truth: list[list[float]]
    found: dict[str, list[list[float]]]
