"""CVAT's XML, in the schema of its documentation ("XML annotation format", version 1.1)."""

import zipfile

import pytest

from pipeline.errors import PipelineError
from tests.pipeline.annotations.tools.reading import faults_of, read, told

BOX = (
    '<box frame="{}" outside="{}" occluded="0" keyframe="1" xtl="0" ytl="0" xbr="9.00" ybr="9.00" z_order="0">{}</box>'
)


def boxes(*shapes: tuple[int, int]) -> str:
    return "\n    ".join(BOX.format(frame, outside, '<attribute name="a">1</attribute>') for frame, outside in shapes)


VIDEO = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id>7</id>
      <name>monday</name>
      <size>100</size>
      <mode>interpolation</mode>
      <overlap>5</overlap>
      <start_frame>0</start_frame>
      <stop_frame>99</stop_frame>
      <frame_filter></frame_filter>
      <labels><label><name>walk</name><color>#ff0000</color><attributes></attributes></label></labels>
      <original_size><width>320</width><height>240</height></original_size>
      <source>walk_01.mp4</source>
    </task>
    <dumped>2026-01-02 03:04:05.000000+00:00</dumped>
  </meta>
  <track id="0" label="walk" source="manual">
    {boxes((10, 0), (11, 0), (20, 1), (50, 0), (60, 0))}
  </track>
  <track id="1" label="run &amp; jump" source="manual">
    {boxes((0, 0), (5, 1))}
  </track>
</annotations>
"""
RIGHT = {"walk_01": [(0.0, 0.2, "run & jump"), (0.4, 0.8, "walk"), (2.0, 2.44, "walk")]}  # at 25 frames a second


def rate(_: str) -> float:
    return 25.0


def test_a_track_is_a_segment_wherever_it_is_in_the_picture(tmp_path):
    annotations = read(tmp_path / "annotations.xml", VIDEO, fps_of=rate)
    assert told(annotations) == RIGHT
    assert annotations.videos["walk_01"].fps == 25.0


def test_the_archive_is_read_as_it_was_downloaded(tmp_path):
    with zipfile.ZipFile(tmp_path / "dump.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", VIDEO)
        archive.writestr("images/frame_000000.PNG", b"x")
    data = (tmp_path / "dump.zip").read_bytes()
    assert told(read(tmp_path / "again.zip", data, fps_of=rate)) == RIGHT


def test_tags_of_frames_in_a_row_are_a_segment(tmp_path):
    images = "".join(
        f'<image id="{frame}" name="frame_{frame:06d}" width="320" height="240" task_id="{task}">{tags}</image>'
        for task, frame, tags in [
            (3, 0, '<tag label="sit" source="manual"></tag>'),
            (3, 5, '<tag label="sit" source="manual"></tag><tag label="eat" source="manual"></tag>'),
            (3, 10, ""),
            (3, 15, '<tag label="sit" source="manual"></tag>'),
            (4, 0, '<tag label="sit" source="manual"></tag>'),
        ]
    )
    tasks = (
        "<tasks><task><id>3</id><name>x</name><frame_filter>step=5</frame_filter><source>a.avi</source></task>"
        "<task><id>4</id><name>b.mp4</name><frame_filter></frame_filter></task></tasks>"
    )
    text = f"<annotations><version>1.1</version><meta><project><id>1</id>{tasks}</project></meta>{images}</annotations>"
    annotations = read(tmp_path / "a.xml", text, fps_of=lambda name: {"a": 5.0, "b": 10.0}[name])
    assert told(annotations) == {
        "a": [(0.0, 2.0, "sit"), (1.0, 2.0, "eat"), (3.0, 4.0, "sit")],
        "b": [(0.0, 0.1, "sit")],
    }


def test_a_skeleton_is_there_as_long_as_one_of_its_points(tmp_path):
    point = '<points label="{}" keyframe="1" outside="{}" occluded="0" points="1.00,2.00"></points>'
    shapes = "".join(
        f'<skeleton frame="{frame}" keyframe="1" z_order="0">{point.format(1, a)}{point.format(2, b)}</skeleton>'
        for frame, a, b in [(0, 0, 0), (5, 1, 0), (10, 1, 1)]
    )
    text = f'<annotations><meta><task><id>1</id></task></meta><track id="0" label="sit">{shapes}</track></annotations>'
    assert told(read(tmp_path / "a.xml", text, fps_of=lambda _: 10.0)) == {"a": [(0.0, 1.0, "sit")]}


def test_without_a_rate_the_remedy_is_told(tmp_path):
    (line,) = faults_of(tmp_path / "a.xml", VIDEO)
    assert "video 'walk_01': its times are frames" in line
    assert "--videos FOLDER --out annotations.json" in line


def test_a_wrong_frame_is_told_by_its_line(tmp_path):
    lines = faults_of(tmp_path / "a.xml", VIDEO.replace('frame="11"', 'frame="9"').replace('frame="5"', 'frame="-5"'))
    assert [line.partition(":")[0] for line in lines[:2]] == ["line 22", "line 29"]


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><annotations>&c;</annotations>'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations/>', "document type"),
        ("<annotations>&secret;</annotations>", "is not XML: line 1"),
        ("<annotations>\n<track>\n</annotations>", "is not XML: line 3, mismatched tag"),
        ("<annotations>" * 100, "more than 64 deep"),
        ('<?xml version="1.0" encoding="latin-99"?><annotations/>', "line 1"),
        ("<other/>", "its form is not known"),
        (b"PK\x03\x04nonsense", "not XML"),
    ],
)
def test_other_xml_is_refused_on_one_line(tmp_path, text, says):
    with pytest.raises(PipelineError) as error:
        read(tmp_path / "a.xml", text, fps_of=rate)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_an_archive_without_annotations_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "dump.zip", "w") as archive:
        archive.writestr("labels.txt", "x")
    with pytest.raises(PipelineError, match="an archive without annotations"):
        read(tmp_path / "again.zip", (tmp_path / "dump.zip").read_bytes())
