"""BORIS's project and its exported tables, in the forms of its own test files (tests/files of its repository)."""

import json

import pytest

from tests.pipeline.annotations.tools.reading import faults_of, read, told


def observation(files: list[str], events: list[list], lengths: dict[str, float], **more: object) -> dict:
    return {
        "file": {"1": files, "2": []},
        "type": "MEDIA",
        "date": "2026-01-02T03:04:05",
        "description": "",
        "time offset": 0.0,
        "events": events,
        "independent_variables": {},
        "media_info": {"length": lengths, "fps": dict.fromkeys(files, 25.0), "offset": {"1": 0.0}},
        **more,
    }


def project(**observations: dict) -> str:
    kinds = {"walk": "State event", "eat": "State event with coding map", "look": "Point event"}
    return json.dumps(
        {
            "time_format": "hh:mm:ss",
            "project_format_version": "7.0",
            "project_name": "test",
            "subjects_conf": {"0": {"key": "1", "name": "rat", "description": ""}},
            "behaviors_conf": {str(i): {"type": t, "key": "k", "code": c} for i, (c, t) in enumerate(kinds.items())},
            "observations": observations,
            "behavioral_categories": [],
            "coding_map": {},
        }
    )


EVENTS = [
    [3.3, "rat", "walk", "", ""],
    [4.0, "", "walk", "", ""],
    [5.0, "", "look", "", ""],
    [6.0, "", "walk", "", ""],
    [7.75, "rat", "walk", "", "", 193],
]


def test_a_state_lasts_until_the_same_subject_ends_it(tmp_path):
    one = observation(["/home/me/day 1.mp4"], EVENTS, {"/home/me/day 1.mp4": 60.0})
    live = observation([], [[1.0, "", "walk", "", ""]], {}, type="LIVE", file=[])
    annotations = read(tmp_path / "p.boris", project(one=one, live=live))
    assert told(annotations) == {"day 1": [(3.3, 7.75, "walk"), (4.0, 6.0, "walk")]}
    assert annotations.videos["day 1"].duration == 60.0
    assert set(annotations.problems) == {
        "left out: 1 point event (they have no length)",
        "left out: 1 observation without a media file",
    }


def test_times_count_through_media_files_one_after_the_other(tmp_path):
    events = [
        [1.0, "", "walk", "", ""],
        [2.0, "", "walk", "", ""],
        [190.0, "", "eat", "", ""],
        [191, "", "eat", "", ""],
    ]
    one = observation(["a.mp4", "b.mp4"], events, {"a.mp4": 180.0, "b.mp4": 100.0})
    assert told(read(tmp_path / "p.boris", project(one=one))) == {"a": [(1.0, 2.0, "walk")], "b": [(10.0, 11.0, "eat")]}


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([[1.0, "", "walk", "", ""]], "observations/one/events/0: state event 'walk' starts and never stops"),
        ([[1.0, "", "fly", "", ""]], "observations/one/events/0: behavior 'fly' is not in behaviors_conf"),
        ([["1", "", "walk", ""]], "observations/one/events/0: expected [time, subject, behavior, …]"),
        (
            [[1, "", "eat"], [9, "", "eat"]],
            "observations/one/events/1: 'eat' goes on from one media file into the next",
        ),
    ],
)
def test_faults_are_told_by_their_place(tmp_path, events, says):
    one = observation(["a.mp4", "b.mp4"], events, {"a.mp4": 5.0, "b.mp4": 9.0})
    (line,) = faults_of(tmp_path / "p.boris", project(one=one))
    assert line.startswith(says)


TABULAR = """Observation id,one,,,,,,,
,,,,,,,,
Media file(s),,,,,,,,
Player #1,day 1.mp4,,,,,,,
Time offset (s),0.0,,,,,,,
,,,,,,,,
Time,Media file path,Total length,FPS,Subject,Behavior,Behavioral category,Comment,Status
3.300,day 1.mp4,359.960,25.0,rat,walk,,,START
4.000,day 1.mp4,359.960,25.0,,look,,,POINT
4.000,day 1.mp4,359.960,25.0,,walk,,,START
6.000,day 1.mp4,359.960,25.0,,walk,,,STOP
7.750,day 1.mp4,359.960,25.0,rat,walk,,,STOP
"""
AGGREGATED = """Observation id\tObservation date\tMedia file\tTotal length\tFPS\tSubject\tBehavior\tModifiers\t\
Behavior type\tStart (s)\tStop (s)\tDuration (s)\tComment start\tComment stop
one\t2026-01-02\t/home/day 1.mp4\t359.960\t25.0\trat\twalk\t\tSTATE\t3.300\t7.750\t4.450\t\t
one\t2026-01-02\t/home/day 1.mp4\t359.960\t25.0\t\tlook\t\tPOINT\t4.000\t4.000\tNA\t\t
one\t2026-01-02\t/home/day 1.mp4\t359.960\t25.0\t\twalk\t\tSTATE\t4.000\t6.000\t2.000\t\t
"""


@pytest.mark.parametrize(("name", "text"), [("e.csv", TABULAR), ("e.tsv", AGGREGATED)])
def test_exported_tables_say_the_same_as_the_project(tmp_path, name, text):
    annotations = read(tmp_path / name, text)
    assert told(annotations) == {"day 1": [(3.3, 7.75, "walk"), (4.0, 6.0, "walk")]}
    assert annotations.problems == ("left out: 1 point event (they have no length)",)
    assert annotations.videos["day 1"].fps == 25.0


def test_wrong_lines_are_told(tmp_path):
    text = TABULAR.replace("6.000,day 1.mp4,359.960,25.0,,walk,,,STOP\n", "").replace("rat,walk,,,START", ",eat,,,STOP")
    lines = faults_of(tmp_path / "e.csv", text)
    assert lines == [
        "line 8: 'eat' stops and never started",
        "line 11: 'walk' stops and never started",
        "line 10: state event 'walk' starts and never stops",
    ]


def test_a_table_of_several_media_files_in_a_row_is_refused(tmp_path):
    text = AGGREGATED + AGGREGATED.splitlines()[1].replace("day 1", "day 2") + "\n"
    lines = faults_of(tmp_path / "e.tsv", text)
    assert len(lines) == 4
    assert all("give the .boris project" in line for line in lines)
