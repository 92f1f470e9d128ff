"""Labels, from the files of tools and beside the videos they are for, to annotations and back."""

import json
from pathlib import Path

import pytest

from pipeline.annotations import read_annotations
from pipeline.annotations.config import ConvertConfig
from pipeline.annotations.detections import write_detections
from pipeline.annotations.faults import FaultyAnnotationsError
from pipeline.annotations.segments import Detection
from pipeline.errors import PipelineError
from pipeline.stages.convert_annotations import convert
from tests.pipeline.annotations.tools.reading import told
from tests.pipeline.annotations.tools.test_cvat import VIDEO as CVAT
from tests.videos import constant

DETECTIONS = {"a": [Detection((0.1, 0.5), "sit", 0.9), Detection((0.2, 0.4), "run", 0.1)], "b": []}


@pytest.fixture
def videos(tmp_path):
    """Two videos: `walk_01` of 70 frames at 25 a second, `b` of 20 frames at 10."""
    folder = tmp_path / "videos"
    folder.mkdir()
    constant(folder / "walk_01.mp4", 70, 25)
    constant(folder / "b.mp4", 20, 10)
    return folder


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_frames_take_the_rate_of_the_videos_and_seconds_their_durations(tmp_path, videos):
    (tmp_path / "labels").mkdir()
    write(tmp_path / "labels" / "dump.xml", CVAT)
    write(tmp_path / "labels" / "b.txt", "0.5\t2.2\tjump\n")
    done = convert([tmp_path / "labels"], tmp_path / "a.json", ConvertConfig(), videos=[videos])
    assert done.written == [tmp_path / "a.json"]
    assert told(read_annotations(tmp_path / "a.json")) == {
        "b": [(0.5, 2.0, "jump")],
        "walk_01": [(0.0, 0.2, "run & jump"), (0.4, 0.8, "walk"), (2.0, 2.44, "walk")],
    }
    video = read_annotations(tmp_path / "a.json").videos["walk_01"]
    assert (video.duration, video.fps, video.frames) == (2.8, 25.0, 70)


def test_a_given_rate_goes_before_that_of_the_videos(tmp_path, videos):
    write(tmp_path / "dump.xml", CVAT)
    done = convert([tmp_path / "dump.xml"], None, ConvertConfig(fps=50), videos=[videos])
    assert told(done.annotations)["walk_01"] == [(0.0, 0.1, "run & jump"), (0.2, 0.4, "walk"), (1.0, 1.22, "walk")]
    assert done.annotations.videos["walk_01"].fps == 25.0


def test_an_unknown_video_gets_the_nearest_name_as_a_hint(tmp_path, videos):
    table = write(
        tmp_path / "t.csv", "video,start,end,label\nWalk-01,0,1,jump\nzebra,0,1,jump\nb,9,11,jump\nb,0,1,run\n"
    )
    with pytest.raises(FaultyAnnotationsError) as error:
        convert([table], tmp_path / "a.json", ConvertConfig(), videos=[videos])
    assert error.value.lines[0] == "video 'Walk-01' is not among the videos; did you mean 'walk_01'?"
    assert error.value.lines[1].startswith("video 'zebra' is not among the videos; put it there")
    assert error.value.lines[2].startswith(
        "line 4: video 'b': [9.0, 11.0] ends after the video's duration, 2 s, by 9 s"
    )
    assert not (tmp_path / "a.json").exists()
    done = convert([table], tmp_path / "a.json", ConvertConfig(skip_faults=True), videos=[videos])
    assert done.faults == error.value.lines
    assert told(read_annotations(tmp_path / "a.json")) == {"b": [(0.0, 1.0, "run")]}


def test_a_video_that_cannot_be_read_is_a_fault(tmp_path, videos):
    (videos / "torn.mp4").write_bytes(b"nothing")
    table = write(tmp_path / "t.csv", "video,start,end,label\ntorn,0,1,jump\nb,0,1,run\n")
    done = convert([table], tmp_path / "a.json", ConvertConfig(skip_faults=True), videos=[videos])
    assert [line.partition(": ")[2].partition(": ")[0] for line in done.faults] == [str(videos / "torn.mp4")]
    assert told(read_annotations(tmp_path / "a.json")) == {"b": [(0.0, 1.0, "run")]}


def test_a_video_of_which_nothing_is_left_does_not_count_as_one_without_actions(tmp_path):
    table = write(tmp_path / "t.csv", "video,start,end,label\na,3,1,jump\nb,0,1,run\n")
    done = convert([table], None, ConvertConfig(skip_faults=True))
    assert list(done.annotations.videos) == ["b"]


def test_a_duration_that_is_not_the_videos_is_told(tmp_path, videos):
    value = {"database": {"b": {"duration": 9.0, "annotations": [{"segment": [0, 1], "label": "x"}]}}}
    file = write(tmp_path / "a.json", json.dumps(value))
    done = convert([file], None, ConvertConfig(), videos=[videos])
    assert done.notes == ["video 'b' lasts 2.00 s, and not the 9.00 s of the file"]


def test_files_are_put_together_and_split(tmp_path):
    files = [write(tmp_path / f"{name}.txt", "0\t1\trun\n1\t2\tjump\n") for name in "abcdefghij"]
    write(tmp_path / "more.csv", "video,start,end,label\na,5,6,sit\nb,5,6,sit\n")
    config = ConvertConfig(validation=0.3, seed=1)
    done = convert([*files, tmp_path / "more.csv"], tmp_path / "a.json", config)
    again = read_annotations(tmp_path / "a.json", subsets=("training", "validation"))
    assert again.subsets() == {"training": 7, "validation": 3}
    assert again.videos == done.annotations.videos
    assert told(again)["a"] == [(0.0, 1.0, "run"), (1.0, 2.0, "jump"), (5.0, 6.0, "sit")]
    assert len({again.videos[name].subset for name in "ab"}) == 2
    assert done.notes[0].startswith("3 videos are for validation (")


def test_detections_go_to_a_tool_and_come_back_as_annotations(tmp_path):
    write_detections(tmp_path / "d.json", DETECTIONS)
    done = convert([tmp_path / "d.json"], tmp_path / "labels.txt", ConvertConfig(min_score=0.5))
    assert [file.name for file in done.written] == ["a.txt", "b.txt"]
    assert told(read_annotations(tmp_path / "labels")) == {"a": [(0.1, 0.5, "sit")]}
    convert([tmp_path / "d.json"], tmp_path / "all.csv", ConvertConfig())
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 3
    for source in ("d.json", "all.csv"):
        convert([tmp_path / source], tmp_path / "a.json", ConvertConfig(min_score=0.5))
        assert told(read_annotations(tmp_path / "a.json"))["a"] == [(0.1, 0.5, "sit")]


def test_detections_are_no_annotations_by_mistake(tmp_path):
    write_detections(tmp_path / "d.json", DETECTIONS)
    with pytest.raises(PipelineError, match=r"--min-score 0\.5 makes annotations of the sure ones"):
        convert([tmp_path / "d.json"], tmp_path / "a.json", ConvertConfig())
    with pytest.raises(PipelineError, match="these are detections"):
        read_annotations(tmp_path / "d.json")


def test_a_file_with_labels_is_not_replaced(tmp_path):
    table = write(tmp_path / "t.csv", "video,start,end,label\na,0,1,jump\n")
    with pytest.raises(PipelineError, match="is one of the files with labels"):
        convert([tmp_path], table, ConvertConfig())
    assert table.read_text().endswith("jump\n")


@pytest.mark.parametrize("bad", [{"validation": 1.0}, {"validation": -0.1}, {"fps": -1}, {"min_score": float("nan")}])
def test_settings_are_checked(bad):
    with pytest.raises(PipelineError, match=next(iter(bad))):
        ConvertConfig(**bad)
