"""Segments and kinds of a store, and the files that are made of them."""

import json

import numpy as np
import pytest

from pipeline.annotations import read_annotations
from pipeline.errors import PipelineError
from pipeline.segmentation.config import SegmentConfig
from pipeline.stages.segment import segment, write_segments
from pipeline.stages.segment_pictures import draw_kinds, draw_map, draw_videos, files_of
from pipeline.stages.train import train
from tests.pipeline.stages.test_localize import TINY
from tests.pipeline.stages.test_locate_like import scenes
from tests.stores import make_store
from tests.videos import constant

# Half a second a row. Direction 1 lasts longest in all, then 2, then 3.
VIDEOS = {
    "a": [(1, 16), (2, 8), (3, 6)],
    "b": [(3, 8), (1, 20), (2, 10)],
    "c": [(2, 12), (1, 18)],
    "d": [(1, 14), (3, 10)],
    "e": [(2, 9), (1, 12)],
}
PLAIN = SegmentConfig()


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "s", {name: scenes(of, seed=place) for place, (name, of) in enumerate(VIDEOS.items())})


def test_segments_and_kinds_are_those_that_were_made(store):
    found = segment(store, PLAIN)
    # The kinds are numbered by how long they last: direction d is kind d.
    assert {name: [one.kind for one in of] for name, of in found.videos.items()} == {
        name: [direction for direction, _ in of] for name, of in VIDEOS.items()
    }
    assert [one.segment for one in found.videos["a"]] == [(0.0, 8.25), (8.25, 12.25), (12.25, 15.0)]
    assert found.kinds == 3
    assert max(found.silhouettes, key=found.silhouettes.get) == 3
    assert found.text() == "12 segments of 6.0 s on average, 3 kinds, in 5 videos, 0 failed"


def test_a_price_and_a_number_of_kinds_are_kept(store):
    found = segment(store, SegmentConfig(kinds=2, boundary_price=50))
    assert [len(of) for of in found.videos.values()] == [1] * 5
    assert found.kinds == 2


def test_the_files_are_the_same_in_every_run_and_can_be_trained_on(store, tmp_path):
    texts = []
    for name in ("one", "two"):
        file = write_segments(tmp_path / name, segment(store, PLAIN), store, PLAIN)
        texts.append(file.read_text() + (tmp_path / name / "segments.json").read_text())
    assert texts[0] == texts[1]
    annotations = read_annotations(file)
    assert annotations.problems == ()
    assert annotations.labels == ("kind 1", "kind 2", "kind 3")
    assert list(annotations.videos) == list("abcde")
    assert annotations.videos["a"].segments[1].segment == (8.25, 12.25)
    train(store, file, tmp_path / "model", TINY)
    assert (tmp_path / "model" / "model.json").is_file()


def test_facts_of_the_kinds(store, tmp_path):
    write_segments(tmp_path / "out", segment(store, PLAIN), store, PLAIN)
    facts = json.loads((tmp_path / "out" / "segments.json").read_text())
    assert facts["kinds"]["kind 3"]["segments"] == facts["kinds"]["kind 3"]["videos"] == 3
    # 2.75 s at the end of a, 4.25 s at the start of b, 4.75 s at the end of d.
    assert facts["kinds"]["kind 3"]["seconds"] == pytest.approx(2.75 + 4.25 + 4.75)
    assert facts["settings"]["kinds"] is None


@pytest.mark.parametrize("break_it", ["array", "values"])
def test_a_bad_video_costs_only_itself(store, break_it):
    if break_it == "array":
        store.array_path("b").write_bytes(b"no array")
    else:
        rows = np.load(store.array_path("b"))
        rows[3, 2] = np.nan
        np.save(store.array_path("b"), rows)
    found = segment(store, PLAIN)
    assert sorted(found.videos) == ["a", "c", "d", "e"]
    assert list(found.failed) == ["b"]


def test_a_store_without_usable_videos_is_refused(store, tmp_path):
    for name in VIDEOS:
        store.array_path(name).write_bytes(b"no array")
    with pytest.raises(PipelineError, match=r"no video of .* can be used"):
        segment(store, PLAIN)


def test_pictures_of_kinds_and_videos(store, tmp_path):
    found, out = segment(store, PLAIN), tmp_path / "out"
    for name in "abcd":  # e is not among the videos
        constant(tmp_path / "videos" / f"{name}.mp4", 150, 10)
    (tmp_path / "videos" / "d.mp4").write_bytes(b"no video")
    (out / "kinds").mkdir(parents=True)
    (out / "kinds" / "kind_9.png").write_bytes(b"of an earlier run")
    notes = draw_kinds(found, files_of([tmp_path / "videos"], ids="stem"), out)
    assert [note.split(":")[0] for note in notes] == ["no picture of d", "no picture of e"]
    assert sorted(file.name for file in (out / "kinds").iterdir()) == ["kind_1.png", "kind_2.png", "kind_3.png"]
    assert draw_videos(found, store, out, most=2) == ["3 videos not drawn; --max-pictures draws more"]
    assert sorted(file.name for file in (out / "self_similarity").iterdir()) == ["a.png", "b.png"]
    draw_map(found, out)
    assert (out / "map.png").read_bytes()[:4] == b"\x89PNG"
    near = [np.array([one.place for _, one in found.of_kind(kind)]) for kind in (1, 2, 3)]
    apart = [np.linalg.norm(a.mean(0) - b.mean(0)) for a, b in ((near[0], near[1]), (near[0], near[2]))]
    assert min(apart) > 3 * max(places.std(0).max() for places in near)
