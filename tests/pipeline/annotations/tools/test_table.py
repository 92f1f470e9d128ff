"""Tables of segments, as people write them."""

import pytest

from pipeline.errors import PipelineError
from tests.pipeline.annotations.tools.reading import faults_of, read, told

RIGHT = {"walk": [(1.5, 62.5, "jump")], "run": [(0.0, 3723.25, "fall, hard")]}


@pytest.mark.parametrize(
    "text",
    [
        'video,start,end,label\nwalk.mp4,1.5,62.5,jump\nrun.mp4,0,1:02:03.25,"fall, hard"\n',
        '\ufeffvideo,start,end,label\r\nwalk,1.5,62.5,jump\r\n\r\nrun,0,3723.25,"fall, hard"\r\n',
        "Start Time;End Time;Video Name;Action;By\n1,5;1:02,5;walk.MOV;jump;\n0;1:02:03,25;a/run.avi;fall, hard;\n",
        "label\tfilename\tend_time\tstart_time\njump\twalk.mp4\t62.5\t1.5\nfall, hard\tC:\\my\\run.mp4\t3723.25\t0\n",
        'walk,1.5,62.5,jump\nrun,0,3723.25,"fall, hard"\n',
        '# made by hand\nid,video,start (s),end (s),label\n1,walk,1.5,62.5, jump\n2,run,0,3723.25,"fall, hard"\n',
        'walk,1.5,62.5,jump,0.9\nrun,0,3723.25,"fall, hard",0.8\n',
    ],
)
def test_a_table_is_read_whatever_its_columns_separators_and_times(tmp_path, text):
    annotations = read(tmp_path / "labels.csv", text)
    assert told(annotations) == RIGHT
    assert annotations.dialect == "csv"


def test_a_table_names_subsets_and_videos_without_segments(tmp_path):
    text = "video,start,end,label,split\na,1,2,jump,train\nb,,,,val\n"
    annotations = read(tmp_path / "t.csv", text)
    assert {name: video.subset for name, video in annotations.videos.items()} == {"a": "train", "b": "val"}
    assert annotations.videos["b"].segments == ()


def test_what_is_not_kept_is_told(tmp_path):
    annotations = read(tmp_path / "t.csv", "video,start,end,label,score,who\na,1,2,jump,0.5,me\n")
    assert annotations.problems[0] == "the columns who are not kept"
    assert annotations.problems[1].startswith("scores are not kept: every line counts")


def test_an_id_may_hold_dots_and_folders(tmp_path):
    assert list(told(read(tmp_path / "t.csv", "video,start,end,label\nday 1/v_2.5,1,2,jump\n"))) == ["day 1/v_2.5"]


def test_columns_of_frames_take_the_rate_of_the_video(tmp_path):
    text = "video,start_frame,end_frame,label\na,25,50,jump\n"
    assert told(read(tmp_path / "t.csv", text, fps_of=lambda _: 25.0)) == {"a": [(1.0, 2.0, "jump")]}
    assert faults_of(tmp_path / "t.csv", text.replace("50", "x"))[0].startswith("line 2: start and end must be frames")


def test_a_table_that_is_no_utf8_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(PipelineError, match="save it as UTF-8"):
        read(tmp_path / "t.csv", "video,start,end,label\na,1,2,caf\xe9\n".encode("latin-1"))


def test_every_wrong_line_is_told_by_its_number(tmp_path):
    text = 'video,start,end,label\na,1,2,jump\na,5,3,jump\n\na,x,3,jump\na,1\n,1,2,jump\na,"1\n2",4,"ju\nmp"\na,1,2,\n'
    lines = faults_of(tmp_path / "t.csv", text)
    assert [line.partition(":")[0] for line in lines] == ["line 6", "line 7", "line 3", "line 5", "line 8", "line 11"]
    assert lines[0].endswith("expected 4 columns, got 'a, 1'")
    assert "no video is named" in lines[1]
    assert "[5.0, 3.0] ends before it starts" in lines[2]
    assert "must be finite numbers, got 'x'" in lines[3]
    assert "label must be a name, got ''" in lines[5]


@pytest.mark.parametrize("time", ["1:60", "1:99:00", "nan", "inf", "1:2:3:4", "--1", "9" * 5000 + ":00", "1e999"])
def test_a_time_that_is_none_is_refused(tmp_path, time):
    assert len(faults_of(tmp_path / "t.csv", f"video,start,end,label\na,{time},9e9,jump\n")) == 1


@pytest.mark.parametrize("text", ["", "\n\n", "hello\n", "video,start\na,1\n", "a,b,c,d\n", "\0,1,2,x\n"])
def test_a_text_that_is_no_table_is_refused_with_the_known_forms(tmp_path, text):
    with pytest.raises(PipelineError, match=r"its form is not known; accepted are .*VIA 3.*ELAN.*table"):
        read(tmp_path / "t.csv", text)
