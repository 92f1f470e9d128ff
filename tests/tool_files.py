"""A small valid file of each annotation tool and data set, by the tool's name."""

import importlib.util
import json
from pathlib import Path

from pipeline.annotations import adopt_ids, fit_to_durations, read_annotations, summary
from tests.pipeline.annotations.tools.test_boris import AGGREGATED, EVENTS, TABULAR, observation, project
from tests.pipeline.annotations.tools.test_cvat import VIDEO
from tests.pipeline.annotations.tools.test_data_sets import EPIC, moment
from tests.pipeline.annotations.tools.test_label_studio import region, task
from tests.pipeline.annotations.tools.test_via import PROJECT

CLIP = {"clip_uid": "c", "annotations": [{"labels": [moment("cut", 1.5, 2.0, primary=True)], "annotation_uid": "x"}]}
FILES = {
    "table": ("t.csv", 'video;start;end;label;split\na.mp4;0:01,5;2,5;"run";train\nb;1;2;jump;val\n'),
    "via": ("v.json", json.dumps(PROJECT)),
    "cvat": ("c.xml", VIDEO),
    "label_studio": ("l.json", json.dumps([task("a.mp4", region(1, 25, "sit"), fps=25), task("b.mp4")])),
    "boris": ("b.json", project(one=observation(["a.mp4"], EVENTS, {"a.mp4": 60.0}))),
    "boris_tabular": ("b.csv", TABULAR),
    "boris_aggregated": ("b.tsv", AGGREGATED),
    "ego4d": ("e.json", json.dumps({"videos": [{"video_uid": "a", "split": "train", "clips": [CLIP]}]})),
    "epic_kitchens": ("EPIC_100_train.csv", EPIC),
    "audacity": ("a.txt", "0.5\t1.5\trun\n\\\t100\t200\n2\t3\tjump\n"),
    "multithumos": ("Run.txt", "video_validation_0000001 0.5 1.5\nvideo_test_0000001 1 2\n"),
}
if importlib.util.find_spec("pympi"):
    from tests.pipeline.annotations.tools.test_elan import EAF

    FILES["elan"] = ("e.eaf", EAF)


def make(folder: Path, tool: str) -> None:
    """Write the tool's file into the folder."""
    name, text = FILES[tool]
    (folder / name).write_text(text, encoding="utf-8")


def read(folder: Path, tool: str) -> None:
    """Read the tool's file, and do with it what commands do."""
    found = read_annotations(folder / FILES[tool][0], subsets=("training", "validation"), fps_of=lambda _: 25.0)
    summary(found).lines()
    fit_to_durations(adopt_ids(found, ["a", "b"]), {"a": 5000.0})
