"""Subtitles, chapters and tables, read back by small parsers of their own; OpenTimelineIO by its library."""

import csv
import io
import json
import re
from dataclasses import dataclass
from fractions import Fraction

import av
import pytest

from pipeline.annotations.segments import Detection
from pipeline.showing.listing import Listing
from pipeline.showing.otio import otio_timeline
from pipeline.showing.texts import chapters_text, csv_text, jsonl_text, srt_text, vtt_text
from pipeline.showing.timeline import pieces_of, time_code
from tests.videos import constant


def listing(*items: tuple[float, float, str, float], scored: bool = True, duration: float | None = None) -> Listing:
    durations = {} if duration is None else {"v": duration}
    return Listing({"v": [Detection((s, e), label, score) for s, e, label, score in items]}, scored, None, durations)


@dataclass
class Cue:
    start: float
    end: float
    lines: list[str]


def seconds(code: str) -> float:
    hours, minutes, rest = re.fullmatch(r"(\d\d+):([0-5]\d):([0-5]\d[.,]\d{3})", code).groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(rest.replace(",", "."))


def read_cues(text: str, *, point: str) -> list[Cue]:
    """Blocks between blank lines: an optional number, the times, the lines of text."""
    cues = []
    for number, block in enumerate(re.split(r"\n\n+", text.strip("\n")), start=1):
        lines = block.split("\n")
        if point == ",":
            assert lines.pop(0) == str(number)
        start, end = lines[0].split(" --> ")
        assert start[-4] == end[-4] == point
        cues.append(Cue(seconds(start), seconds(end), lines[1:]))
    return cues


OVERLAPPING = listing((1, 3, "run", 0.9), (2, 4, "jump", 0.5), (2.5, 2.6, "jump", 0.75), (6, 7, "run", 0.9))
CUES = [
    Cue(1, 2, ["run 0.90"]),
    Cue(2, 2.5, ["run 0.90", "jump 0.50"]),
    Cue(2.5, 2.6, ["run 0.90", "jump 0.75"]),  # of one label the better
    Cue(2.6, 3, ["run 0.90", "jump 0.50"]),
    Cue(3, 4, ["jump 0.50"]),
    Cue(6, 7, ["run 0.90"]),
]


def test_subtitles_of_overlapping_labels_follow_each_other():
    assert read_cues(srt_text(OVERLAPPING, "v"), point=",") == CUES
    head, _, rest = vtt_text(OVERLAPPING, "v").partition("\n\n")
    assert head == "WEBVTT"
    assert read_cues(rest, point=".") == CUES


def test_ground_truth_has_no_scores():
    truth = listing((1, 2, "run", 1.0), scored=False)
    assert read_cues(srt_text(truth, "v"), point=",") == [Cue(1, 2, ["run"])]
    assert csv_text(truth) == "video,start,end,label\nv,1.0,2.0,run\n"
    assert json.loads(jsonl_text(truth)) == {"video": "v", "start": 1.0, "end": 2.0, "label": "run"}


def test_labels_cannot_break_subtitles():
    odd = listing((0, 1, "a\n\n2\n00:00:05,000 --> 00:00:06,000\n<i>{b}&", 1.0), scored=False)
    (cue,) = read_cues(srt_text(odd, "v"), point=",")
    assert cue.lines == [
        r"a\n\n2\n00:00:05,000 --\u2060> 00:00:06,000\n<\u2060i>{\u2060b}&".replace(r"\u2060", chr(0x2060))
    ]
    (cue,) = read_cues(vtt_text(odd, "v").partition("\n\n")[2], point=".")
    assert cue.lines == [r"a\n\n2\n00:00:05,000 --&gt; 00:00:06,000\n&lt;i&gt;{b}&amp;"]


def test_times_are_whole_milliseconds_and_nothing_lies_before_zero():
    odd = listing((-1, 0.0004, "gone", 1), (-1, 0.5, "cut", 1), (3661.2345, 100 * 3600, "long", 1), scored=False)
    cues = read_cues(srt_text(odd, "v"), point=",")
    assert cues == [Cue(0, 0.5, ["cut"]), Cue(3661.234, 360000, ["long"])]
    assert time_code(3_661_234) == "01:01:01.234"


def test_pieces_of_nothing_are_none():
    assert pieces_of([]) == []
    assert (srt_text(listing(), "v"), vtt_text(listing(), "v")) == ("", "WEBVTT\n")


def test_subtitles_are_understood_by_ffmpeg(tmp_path):
    for name, text in (("v.srt", srt_text(OVERLAPPING, "v")), ("v.vtt", vtt_text(OVERLAPPING, "v"))):
        (tmp_path / name).write_text(text)
        with av.open(str(tmp_path / name)) as file:
            packets = [packet for packet in file.demux() if packet.pts is not None]
            times = [(p.pts / 1000, (p.pts + p.duration) / 1000) for p in packets]
            assert {packet.time_base for packet in packets} == {Fraction(1, 1000)}
        assert times == [(cue.start, cue.end) for cue in CUES]


def read_chapters(text: str) -> list[tuple[float, float, str]]:
    """FFmpeg's metadata: `[CHAPTER]` and `key=value`, where a backslash takes the next character as it is."""
    head, *sections = text.split("[CHAPTER]\n")
    assert head == ";FFMETADATA1\n"
    chapters = []
    for section in sections:
        pairs = [re.split(r"(?<!\\)=", line, maxsplit=1) for line in section.strip("\n").split("\n")]
        values = {key: re.sub(r"\\(.)", r"\1", value) for key, value in pairs}
        base = Fraction(values["TIMEBASE"])
        chapters.append((float(int(values["START"]) * base), float(int(values["END"]) * base), values["title"]))
    return chapters


def test_chapters_follow_each_other_without_a_gap():
    odd = listing((1, 3, "a=b;#c", 0.9), (2, 4, "jump", 0.5), (3, 3.5, "jump", 0.6), duration=10)
    assert read_chapters(chapters_text(odd, "v")) == [
        (0, 1, "(no action)"),
        (1, 2, "a=b;#c"),
        (2, 3, "a=b;#c + jump"),
        (3, 4, "jump"),
        (4, 10, "(no action)"),
    ]


def test_chapters_are_understood_by_ffmpeg(tmp_path):
    text = chapters_text(listing((1, 3, "a=b;#c\\", 0.9), (3, 4, "jump", 0.5)), "v")
    (tmp_path / "v.ffmetadata").write_text(text)
    with av.open(str(tmp_path / "v.ffmetadata"), format="ffmetadata") as file:
        chapters = file.chapters()
    found = [(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"]) for c in chapters]
    assert found == [(0, 1, "(no action)"), (1, 3, "a=b;#c\\ "), (3, 4, "jump")]


def test_tables_hold_all_detections():
    rows = list(csv.DictReader(io.StringIO(csv_text(listing((1, 3, 'a,"b"\nc', 0.123456789), (2, 2, "x", 0.5))))))
    assert rows == [
        {"video": "v", "start": "1.0", "end": "3.0", "label": 'a,"b"\nc', "score": "0.123456789"},
        {"video": "v", "start": "2.0", "end": "2.0", "label": "x", "score": "0.5"},
    ]
    lines = jsonl_text(listing((1, 3, "é\n", 0.25), (2, 2, "x", 0.5))).splitlines()
    assert [json.loads(line)["label"] for line in lines] == ["é\n", "x"]


def test_an_editor_gets_the_video_with_markers():
    otio = pytest.importorskip("opentimelineio")
    whole = listing((1, 3, "run", 0.9), (2, 40, "jump", 0.5), (50, 60, "run", 0.9))
    value = otio_timeline(whole, "v", url="file:///a%20b.mp4", fps=Fraction(25), duration=Fraction(10))
    timeline = otio.adapters.read_from_string(json.dumps(value), "otio_json")
    (clip,) = timeline.find_clips()
    assert clip.media_reference.target_url == "file:///a%20b.mp4"
    assert (clip.source_range.duration.to_seconds(), timeline.duration().to_seconds()) == (10, 10)
    assert [
        (marker.name, marker.marked_range.start_time.to_seconds(), marker.marked_range.duration.to_seconds())
        for marker in clip.markers
    ] == [("run", 1, 2), ("jump", 2, 8)]
    assert [marker.metadata["sola-pipeline"]["score"] for marker in clip.markers] == [0.9, 0.5]
    assert len({marker.color for marker in clip.markers}) == 2
    assert otio.adapters.read_from_string(timeline.to_json_string(), "otio_json").is_equivalent_to(timeline)


def test_chapters_of_a_video_can_be_written_into_it(tmp_path):
    """What the docs tell users to do with the file; PyAV does here what the command `ffmpeg` does there."""
    video = constant(tmp_path / "v.mp4", 40, 10)
    (tmp_path / "v.ffmetadata").write_text(chapters_text(listing((1, 3, "jump", 0.9), duration=4), "v"))
    with av.open(str(tmp_path / "v.ffmetadata"), format="ffmetadata") as file:
        chapters = file.chapters()
    with av.open(str(video)) as source, av.open(str(tmp_path / "out.mp4"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        out.set_chapters(chapters)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    with av.open(str(tmp_path / "out.mp4")) as made:
        titles = [chapter["metadata"]["title"] for chapter in made.chapters()]
    assert titles == ["(no action)", "jump", "(no action)"]
