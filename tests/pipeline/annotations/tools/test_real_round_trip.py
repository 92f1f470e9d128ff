"""Real annotations, through each tool's files and back; the data are not part of the project."""

import os
from pathlib import Path

import pytest

from pipeline.annotations import read_annotations
from pipeline.annotations.tools.writing import FORMS, write_for_tool
from pipeline.video.measured import MeasuredVideos
from tests import ROOT

DATA = Path(os.environ.get("SOLA_DATA", ROOT / "../shared/data")) / "fall_topdown"


@pytest.mark.real_data
@pytest.mark.parametrize("form", sorted(set(FORMS) - {"label-studio"}))  # which gives back what a person submits
def test_real_annotations_come_back_within_half_a_frame(tmp_path, form):
    if not DATA.exists():
        pytest.skip(f"no {DATA}")
    if form == "elan":
        pytest.importorskip("pympi")
    videos, truth = MeasuredVideos([DATA / "videos"]), read_annotations(DATA / "annotations.json")
    facts = {name: videos.facts(name) for name in truth.videos}
    files = write_for_tool({name: v.segments for name, v in truth.videos.items()}, tmp_path / "x", form, facts)
    again = read_annotations(tmp_path / "x" if len(files) > 1 else files[0], fps_of=lambda name: facts[name].fps)
    assert again.videos.keys() == truth.videos.keys()
    for name, video in truth.videos.items():
        there, back = (sorted((s.label, *s.segment) for s in v.segments) for v in (video, again.videos[name]))
        assert [row[0] for row in back] == [row[0] for row in there]
        half = 0.5 / facts[name].fps if form == "cvat" else 0.0005
        for one, other in zip(there, back, strict=True):
            assert one[1:] == pytest.approx(other[1:], abs=half + 1e-9)
