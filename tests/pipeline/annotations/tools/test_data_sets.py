"""Files of Audacity, and of the data sets EPIC-KITCHENS, Ego4D and MultiTHUMOS."""

import json

import pytest

from pipeline.annotations import read_annotations
from pipeline.annotations.faults import FaultyAnnotationsError
from tests.pipeline.annotations.tools.reading import faults_of, read, told


def test_audacitys_labels_are_those_of_the_video_of_the_same_name(tmp_path):
    text = "0.500000\t2.250000\tjump high\n\\\t100.0\t200.0\n3.000000\t3.000000\tpoint\n4\t5\trun\n"
    annotations = read(tmp_path / "walk_01.txt", text)
    assert told(annotations) == {"walk_01": [(0.5, 2.25, "jump high"), (4.0, 5.0, "run")]}
    assert annotations.problems == ("left out: 1 label at points in time, without length",)


def test_a_wrong_line_of_audacity_is_told(tmp_path):
    lines = faults_of(tmp_path / "a.txt", "1\t2\tjump\n1\t2\n3\t2\trun\nhello\n")
    assert [line.partition(":")[0] for line in lines] == ["line 4", "line 2", "line 3"]


EPIC = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
    "P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,3,door,3,['door'],[3]\n"
    "P01_102_0,P01,P01_102,00:00:01.100,00:01:00.54,01:00:02.23,27,111,take knife and plate,pick-up,0,knife,4,"
    "\"['knife', 'plate']\",\"[4, 2]\"\n"
)


def test_epic_kitchens_actions_are_verb_and_noun(tmp_path):
    annotations = read(tmp_path / "EPIC_100_train.csv", EPIC)
    assert told(annotations) == {"P01_01": [(0.14, 3.37, "open door")], "P01_102": [(60.54, 3602.23, "pick-up knife")]}
    assert annotations.subsets() == {"training": 2}
    assert "EPIC_100_verb_classes.csv" in annotations.problems[0]


def test_epic_kitchens_names_of_classes_are_taken_where_they_are(tmp_path):
    (tmp_path / "EPIC_100_verb_classes.csv").write_text("id,key,instances,category\n0,take,['take'],x\n3,open,[],x\n")
    (tmp_path / "EPIC_100_noun_classes.csv").write_text("id,key,instances,category\n3,door,[],x\n4,knife,[],x\n")
    annotations = read(tmp_path / "EPIC_100_validation.csv", EPIC)
    assert annotations.labels == ("open door", "take knife")
    assert annotations.subsets() == {"validation": 2}
    assert annotations.problems == ()
    assert told(read_annotations(tmp_path))["P01_102"] == [(60.54, 3602.23, "take knife")]


def moment(label: str, start: float, end: float, *, primary: bool) -> dict:
    return {"label": label, "start_time": 0.5, "end_time": 1.0, "video_start_time": start, "video_end_time": end} | {
        "video_start_frame": 1,
        "video_end_frame": 2,
        "primary": primary,
    }


def test_ego4ds_moments_have_the_times_of_the_whole_video(tmp_path):
    labels = [moment("cut", 10.5, 12.0, primary=True), moment("cut", 10.6, 12.0, primary=False)]
    clip = {"clip_uid": "c", "video_start_sec": 10, "video_end_sec": 490, "annotations": [{"labels": labels}]}
    text = json.dumps({"version": "1", "videos": [{"video_uid": "v-1", "split": "train", "clips": [clip]}]})
    annotations = read(tmp_path / "moments_train.json", text)
    assert told(annotations) == {"v-1": [(10.5, 12.0, "cut")]}
    assert annotations.subsets() == {"training": 1}
    assert annotations.problems == ("left out: 1 label not marked as primary",)


def test_ego4ds_queries_are_labeled_by_their_template(tmp_path):
    query = {"clip_start_sec": 0, "clip_end_sec": 4, "video_start_sec": 20.0, "video_end_sec": 24.0}
    queries = [query | {"query": "Where is the cup?", "template": "Objects: Where is object X?"}, {"query": "Who?"}]
    clip = {"clip_uid": "c", "annotations": [{"language_queries": queries, "annotation_uid": "q"}]}
    text = json.dumps({"videos": [{"video_uid": "v-1", "split": "val", "clips": [clip, 3]}]})
    lines = faults_of(tmp_path / "nlq.json", text)
    assert lines == ["videos/0/clips/1: must be an object, got 3"]
    annotations = read(tmp_path / "nlq.json", text.replace(", 3]", "]"))
    assert told(annotations) == {"v-1": [(20.0, 24.0, "Objects: Where is object X?")]}


def test_multithumos_classes_are_its_files(tmp_path):
    (tmp_path / "BaseballPitch.txt").write_text("video_validation_0000266 72.80 76.40\nvideo_test_0000005 1 2\n")
    (tmp_path / "Walk.txt").write_text("video_validation_0000266 1.5 2.5\n\n")
    annotations = read_annotations(tmp_path)
    assert told(annotations) == {
        "video_validation_0000266": [(1.5, 2.5, "Walk"), (72.8, 76.4, "BaseballPitch")],
        "video_test_0000005": [(1.0, 2.0, "BaseballPitch")],
    }
    assert annotations.subsets() == {"validation": 1, "test": 1}


def test_a_wrong_line_of_multithumos_is_told_with_its_file(tmp_path):
    (tmp_path / "Run.txt").write_text("video_validation_0000266 1 2\nvideo_validation_0000266 5\n")
    (tmp_path / "Walk.txt").write_text("video_validation_0000266 3 2\n")
    with pytest.raises(FaultyAnnotationsError) as error:
        read_annotations(tmp_path)
    assert error.value.lines[0].startswith("Run.txt, line 2: expected a video id, start and end")
    assert error.value.lines[1].startswith("Walk.txt, line 1: video 'video_validation_0000266': [3.0, 2.0] ends before")
