"""The export for FiftyOne, read by a reader that is written from its documented format."""

import ast
import json
import math
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.annotations import VideoAnnotations
from pipeline.annotations.segments import Segment
from pipeline.errors import PipelineError
from pipeline.exports import ExportConfig, export
from pipeline.store.feature_store import FeatureStore
from tests.pipeline.exports.test_exports import VIDEOS, make_annotations, make_store, seconds_of
from tests.videos import constant

FPS = 4


def make_store_of_videos(folder: Path) -> FeatureStore:
    """A store whose videos exist, one of them with a dot in its id and no suffix."""
    store = make_store(folder / "store", ids=())
    for video_id, (_, duration, _) in {**VIDEOS, "day 1/a.b": ("", 10.0, [])}.items():
        suffix = "" if video_id == "day 1/a.b" else ".mp4"
        path = constant(folder / "videos" / f"{video_id}.mp4", math.ceil(duration * FPS), FPS)
        path = path.rename(path.with_suffix(suffix))
        with store.writer(video_id) as writer:
            writer.append(np.zeros((3, 6), np.float32))
            source = {"path": str(path), "bytes": path.stat().st_size}
            writer.commit({"duration_seconds": duration, "source": source})
    return store


ANNOTATIONS = {"day 1/a.b": VideoAnnotations("day 1/a.b", "training", 10.0, None, (Segment((1.0, 2.0), "run"),))}


def read_as_fiftyone(folder: Path) -> dict[Path, list[tuple[str, list[int], dict]]]:
    """By video: label, first and last frame, and attributes of each detection.

    A key of `labels` is an absolute path, or the path of a file below the folder `data`, which must be there, without
    its suffix; a label is the place of its class; times become frames by the length and rate of the video itself.
    """
    data = folder / "data"
    if not data.is_dir():
        raise ValueError(f"Data directory '{data}' does not exist")
    below = [path for path in data.rglob("*") if path.is_file() and not path.name.startswith(".")]
    videos = {str(path.relative_to(data))[: -len(path.suffix) or None]: path for path in below}
    content = json.loads((folder / "labels.json").read_text())
    samples = {}
    for key, items in content["labels"].items():
        path = Path(key) if Path(key).is_absolute() else videos[key]
        with av.open(str(path)) as video:
            frames = video.streams.video[0].frames
        samples[path] = []
        for item in items:
            assert set(item) <= {"label", "support", "timestamps", "confidence", "attributes"}
            support = [min(frames, int(seconds * FPS) + 1) for seconds in item["timestamps"]]
            samples[path].append((content["classes"][item["label"]], support, item["attributes"]))
    return samples


@pytest.mark.parametrize("videos", ["refer", "link", "copy"])
def test_fiftyone_finds_every_video_and_its_segments(tmp_path, videos):
    store = make_store_of_videos(tmp_path)
    annotations = make_annotations(ANNOTATIONS)
    out = tmp_path / "out"
    report = export(store, annotations, out, ExportConfig(to="fiftyone", videos=videos))
    assert not any("left out" in note for note in report.notes)
    ast.parse((out / "load.py").read_text())
    if videos == "copy":
        shutil.rmtree(tmp_path / "videos")
        out = out.rename(tmp_path / "elsewhere")
    samples = read_as_fiftyone(out)
    assert len(samples) == len(store.ids())
    if videos == "refer":
        assert list((out / "data").iterdir()) == []
    for path, found in samples.items():
        assert path.is_symlink() == (videos == "link")
        video_id = "day 1/a.b" if "a.b" in path.name else path.stem
        expected = seconds_of(video_id) if video_id in VIDEOS else [((1.0, 2.0), "run")]
        assert [(label, attributes["subset"]) for label, _, attributes in found] == [
            (label, annotations.videos[video_id].subset) for _, label in expected
        ]
        for (_, support, _), (segment, _) in zip(found, expected, strict=True):
            np.testing.assert_allclose((np.array(support) - 1) / FPS, segment, atol=1 / FPS + 1e-9)


def test_videos_that_are_gone_or_have_changed_are_left_out_and_told(tmp_path):
    store = make_store_of_videos(tmp_path)
    (tmp_path / "videos/b.mp4").unlink()
    constant(tmp_path / "videos/walk_a.mp4", 5, FPS)
    report = export(store, make_annotations(ANNOTATIONS), tmp_path / "out", ExportConfig(to="fiftyone"))
    assert {path.name for path in read_as_fiftyone(tmp_path / "out")} == {"carnival.mp4", "a.b"}
    assert any(note.startswith("left out 2 videos, moved or changed since") for note in report.notes)


def test_without_any_video_nothing_is_exported(tmp_path):
    store = make_store(tmp_path / "store")
    with pytest.raises(PipelineError, match=r"no video is where .*/nowhere/.*put them back there"):
        export(store, make_annotations(), tmp_path / "out", ExportConfig(to="fiftyone"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_only_fiftyone_gets_videos():
    with pytest.raises(PipelineError, match="videos link is for fiftyone"):
        ExportConfig(to="opentad", videos="link")
