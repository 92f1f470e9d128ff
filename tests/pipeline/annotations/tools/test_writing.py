"""Labels written for tools: each reader gives them back, and other readers see what they should."""

import json
from pathlib import Path

import pytest

from pipeline.annotations import read_annotations
from pipeline.annotations.segments import Detection, Segment
from pipeline.annotations.tools.labeled import lanes
from pipeline.annotations.tools.writing import write_for_tool
from pipeline.annotations.videos import VideoFacts
from pipeline.errors import PipelineError
from tests.pipeline.annotations.tools.reading import read, told

VIDEOS = {
    "walk 01": VideoFacts("/films/walk 01.mp4", seconds=4.0, fps=25.0, frames=100, width=320, height=240),
    "b": VideoFacts("/films/b.mov", seconds=2.0, fps=25.0, frames=50, width=320, height=240),
}
FOUND = {
    "walk 01": [
        Detection((2.04, 3.04), "jump", 0.5),
        Detection((1.0, 2.48), "jump", 0.9),
        Detection((0.0, 4.0), 'run & "fall" <é>', 0.25),
    ],
    "b": [],
}
RIGHT = {
    "walk 01": [(0.0, 4.0, 'run & "fall" <é>'), (1.0, 2.48, "jump"), (2.04, 3.04, "jump")],
    "b": [],
}


def written(tmp_path: Path, name: str, form: str | None = None) -> Path:
    """The file, or the folder of the files."""
    files = write_for_tool(FOUND, tmp_path / name, form, VIDEOS)
    assert all(file.is_file() for file in files)
    return files[0] if len(files) == 1 else files[0].parent


@pytest.mark.parametrize("name", ["x.eaf", "x.xml", "x.txt"])
def test_a_form_with_a_file_for_each_video_gets_a_folder_and_is_read_back(tmp_path, name):
    if name == "x.eaf":
        pytest.importorskip("pympi")
    folder = written(tmp_path, name)
    assert folder == tmp_path / "x"
    assert sorted(file.stem for file in folder.iterdir()) == ["b", "walk 01"]
    annotations = read_annotations(folder, fps_of=lambda _: 25.0)
    if name == "x.txt":  # an empty text does not say that it is of Audacity
        assert told(annotations) == {"walk 01": RIGHT["walk 01"]}
        assert annotations.problems == ("not read, in no known form: 1 file (b.txt)",)
    else:
        assert told(annotations) == RIGHT


def test_one_video_gets_the_file_that_is_named(tmp_path):
    one = {"walk 01": FOUND["walk 01"]}
    assert write_for_tool(one, tmp_path / "y.txt") == [tmp_path / "y.txt"]
    assert (tmp_path / "y.txt").read_text().splitlines()[1] == "1.000000\t2.480000\tjump"
    assert write_for_tool(one, tmp_path / "folder", "audacity") == [tmp_path / "folder" / "walk 01.txt"]


def test_via_gets_one_project(tmp_path):
    assert told(read_annotations(written(tmp_path, "via.json", "via"))) == RIGHT
    project = json.loads((tmp_path / "via.json").read_text())
    assert project["file"]["2"]["fname"] == "b.mov"
    assert list(project["attribute"]["1"]["options"]) == ["jump", 'run & "fall" <é>']


def test_boris_gets_one_project_in_which_each_start_finds_its_stop(tmp_path):
    assert told(read_annotations(written(tmp_path, "x.boris"))) == RIGHT
    again = {"b": [Segment(bounds, "sit") for bounds in [(0.0, 1.0), (1.0, 2.0), (0.5, 1.5), (1.6, 1.7)]]}
    (path,) = write_for_tool(again, tmp_path / "y.boris", None, VIDEOS)
    assert told(read_annotations(path))["b"] == [(0, 1, "sit"), (0.5, 1.5, "sit"), (1, 2, "sit"), (1.6, 1.7, "sit")]
    events = json.loads(path.read_text())["observations"]["b"]["events"]
    # BORIS's own rule: a stop has an odd number of events of the same behavior and subject before its time.
    starts: dict[str, float] = {}
    paired = set()
    for time, subject, *_ in events:
        if sum(other[0] < time and other[1] == subject for other in events) % 2:
            paired.add((starts.pop(subject), time))
        else:
            starts[subject] = time
    assert paired == {item.segment for item in again["b"]}


def test_a_table_keeps_scores_and_leaves_out_videos_without_segments(tmp_path):
    path = written(tmp_path, "x.csv")
    assert path.read_text().splitlines()[:3] == [
        "video,start,end,label,score",
        '"walk 01",0.0,4.0,"run & ""fall"" <é>",0.25'.replace('"walk 01"', "walk 01"),
        "walk 01,1.0,2.48,jump,0.9",
    ]
    assert told(read_annotations(path)) == {"walk 01": RIGHT["walk 01"]}
    write_for_tool({"b": [Segment((0.5, 1.0), "sit")]}, path)
    assert path.read_text() == "video,start,end,label\nb,0.5,1.0,sit\n"


def test_label_studio_shows_predictions_which_a_person_submits(tmp_path):
    path = written(tmp_path, "tasks.json", "label-studio")
    tasks = json.loads(path.read_text())
    assert tasks[0]["data"] == {"video": "walk 01.mp4", "fps": 25.0}
    assert tasks[0]["predictions"][0]["result"][1]["value"]["ranges"] == [{"start": 26, "end": 62}]
    assert tasks[0]["predictions"][0]["result"][1]["score"] == 0.9
    assert told(read_annotations(path)) == {"walk 01": [], "b": []}  # nobody has looked at them
    submitted = [{**task, "annotations": [{"result": task["predictions"][0]["result"]}]} for task in tasks]
    assert told(read(tmp_path / "export.json", json.dumps(submitted))) == RIGHT


def test_elans_file_is_what_pympi_reads(tmp_path):
    pympi = pytest.importorskip("pympi")
    eaf = pympi.Eaf(str(written(tmp_path, "x.eaf") / "walk 01.eaf"))
    assert list(eaf.get_tier_names()) == ["jump", "jump 2", 'run & "fall" <é>']
    assert eaf.get_annotation_data_for_tier("jump") == [(1000, 2480, "jump")]
    assert eaf.get_annotation_data_for_tier("jump 2") == [(2040, 3040, "jump")]
    assert eaf.get_linked_files()[0]["MEDIA_URL"] == "file:///films/walk%2001.mp4"
    other = pympi.Eaf(str(tmp_path / "x" / "b.eaf"))
    assert list(other.get_tier_names()) == ["jump", 'run & "fall" <é>']  # to mark what was missed


def test_equal_labels_give_equal_files(tmp_path):
    pytest.importorskip("pympi")
    first, second = (written(tmp_path / name, "x.eaf") / "walk 01.eaf" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_a_segment_within_one_frame_or_beyond_the_end_has_a_frame_of_the_video(tmp_path):
    odd = {"b": [Segment((0.99, 1.0), "blink"), Segment((2.0, 2.5), "end")]}
    (path,) = write_for_tool(odd, tmp_path / "b.xml", None, VIDEOS)
    assert told(read_annotations(path, fps_of=lambda _: 25.0)) == {"b": [(1.0, 1.04, "blink"), (1.96, 2.0, "end")]}


def test_control_characters_of_a_label_do_not_break_xml(tmp_path):
    odd = {"b": [Segment((0.0, 1.0), "a\x00b\x1b")]}
    (path,) = write_for_tool(odd, tmp_path / "b.xml", None, VIDEOS)
    assert told(read_annotations(path, fps_of=lambda _: 25.0)) == {"b": [(0.0, 1.0, "a?b?")]}


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(PipelineError, match="CVAT counts frames, and the rate of video 'walk 01' is not known"):
        write_for_tool(FOUND, tmp_path / "x.xml")
    with pytest.raises(PipelineError, match="its suffix says no form"):
        write_for_tool(FOUND, tmp_path / "x.doc")
    assert list(tmp_path.iterdir()) == []


def test_an_id_never_leads_out_of_the_folder(tmp_path):
    (path,) = write_for_tool({"../../x": [Segment((0.0, 1.0), "a")]}, tmp_path / "in" / "labels", "audacity")
    assert path.resolve().parent == (tmp_path / "in" / "labels").resolve()
    assert list(told(read_annotations(path))) == ["../../x"]


def test_lanes_hold_no_overlap():
    items = [Segment(bounds, "a") for bounds in [(0, 2), (1, 3), (2, 4), (2.5, 5), (3, 4)]]
    assert [lane for lane, _ in lanes(items)] == [0, 1, 0, 2, 1]
    assert [lane for lane, _ in lanes(items, apart=True)] == [0, 1, 2, 0, 3]
