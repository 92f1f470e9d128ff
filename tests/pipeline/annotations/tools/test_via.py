"""Projects and tables of VIA 3, in the schema of its source (`_via_data.js`, `_via_import_export.js`)."""

import json

from tests.pipeline.annotations.tools.reading import faults_of, read, told

ATTRIBUTES = {
    "1": {
        "aname": "TEMPORAL-SEGMENTS",
        "anchor_id": "FILE1_Z2_XY0",
        "type": 4,
        "desc": "Temporal segment attribute added by default",
        "options": {"1": "walk", "2": "run"},
        "default_option_id": "",
    },
    "2": {"aname": "note", "anchor_id": "FILE1_Z2_XY0", "type": 1, "desc": "", "options": {}, "default_option_id": ""},
    "3": {
        "aname": "parts",
        "anchor_id": "FILE1_Z2_XY0",
        "type": 2,
        "desc": "",
        "options": {"l": "left", "r": "right"},
        "default_option_id": "",
    },
    "4": {"aname": "kind", "anchor_id": "FILE1_Z1_XY1", "type": 3, "desc": "", "options": {}, "default_option_id": ""},
}
METADATA = {
    "1_aaaaaaaa": {"vid": "1", "flg": 0, "z": [1.25, 3.5], "xy": [], "av": {"1": "2", "2": "fast"}},
    "1_bbbbbbbb": {"vid": "1", "flg": 0, "z": [0.0, 1.0], "xy": [], "av": {"1": "1"}},
    "1_cccccccc": {"vid": "1", "flg": 0, "z": [2.0], "xy": [2, 10, 10, 50, 50], "av": {"4": "0"}},
    "1_dddddddd": {"vid": "1", "flg": 0, "z": [2.0], "xy": [], "av": {"1": "1"}},
    "2_eeeeeeee": {"vid": "2", "flg": 0, "z": [4.0, 5.0], "xy": [], "av": {"3": "l,r"}},
}
PROJECT = {
    "project": {
        "pid": "__VIA_PROJECT_ID__",
        "rev": "__VIA_PROJECT_REV_ID__",
        "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
        "pname": "Unnamed VIA Project",
        "creator": "VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)",
        "created": 1649082838493,
        "vid_list": ["1", "2"],
    },
    "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}, "ui": {"file_content_align": "center"}},
    "attribute": ATTRIBUTES,
    "file": {
        "1": {"fid": "1", "fname": "first day.mp4", "type": 4, "loc": 1, "src": ""},
        "2": {"fid": 2, "fname": "https://host/videos/second.webm?key=1", "type": 4, "loc": 2, "src": ""},
    },
    "metadata": METADATA,
    "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": [2]}},
}
RIGHT = {
    "first day": [(0.0, 1.0, "walk"), (1.25, 3.5, "run")],
    "second": [(4.0, 5.0, "left"), (4.0, 5.0, "right")],
}
LEFT_OUT = ("left out: 1 further value of segments: the first attribute is the label", "left out: 1 region in pictures")


def test_a_project_is_read_with_the_names_of_its_options(tmp_path):
    annotations = read(tmp_path / "via.json", json.dumps(PROJECT))
    assert told(annotations) == RIGHT
    assert annotations.problems == (*LEFT_OUT, "left out: 1 mark without length")


def test_its_csv_says_the_same(tmp_path):
    def cell(value):
        return '"' + json.dumps(value).replace('"', '""') + '"'

    files = {"1": ["first day.mp4"], "2": ["https://host/videos/second.webm?key=1"]}
    lines = [
        "# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)",
        "# Notes:",
        "# - spatial_coordinates of [2,10,20,50,80] denotes a rectangle (shape_id=2) of size 50x80 placed at (10,20)",
        "# SHAPE_ID = " + json.dumps({"POINT": 1}),
        "# FLAG_ID = " + json.dumps({"RESERVED_FOR_FUTURE": 1}),
        "# ATTRIBUTE = " + json.dumps(ATTRIBUTES),
        "# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata",
        *(
            f'"{key}",{cell(files[item["vid"]])},0,{cell(item["z"])},{cell(item["xy"])},{cell(item["av"])}'
            for key, item in METADATA.items()
        ),
    ]
    annotations = read(tmp_path / "via.csv", "\n".join(lines) + "\n")
    assert told(annotations) == RIGHT
    assert annotations.problems[:2] == LEFT_OUT


def test_faults_are_told_by_their_place(tmp_path):
    metadata = {
        "1_a": {"vid": "9", "flg": 0, "z": [0, 1], "xy": [], "av": {"1": "1"}},
        "1_b": {"vid": "1", "flg": 0, "z": [2, 1], "xy": [], "av": {"1": "1"}},
        "1_c": {"vid": "1", "flg": 0, "z": [2, 3], "xy": [], "av": {}},
        "1_d": {"vid": "1", "flg": 0, "z": [2, 3, 4], "xy": [], "av": {"1": "1"}},
        "1_e": 7,
    }
    lines = faults_of(tmp_path / "via.json", json.dumps(PROJECT | {"metadata": metadata}))
    assert sorted(line.partition(":")[0] for line in lines) == [f"metadata/1_{letter}" for letter in "abcde"]
    assert "metadata/1_a: view '9' has no file" in lines
