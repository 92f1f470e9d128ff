"""Exports whose rows span the whole video, read back by readers that are written from the formulas of the toolkits."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations import VideoAnnotations, read_annotations
from pipeline.annotations.segments import Segment
from pipeline.errors import PipelineError
from pipeline.exports import ExportConfig, export
from pipeline.exports.resizing import resize_to_span
from pipeline.snippets import SnippetPlan
from pipeline.store.feature_store import FeatureStore
from pipeline.store.spec import rows_as_json
from tests.pipeline.exports.test_exports import (
    PLANS,
    VIDEOS,
    make_annotations,
    make_store,
    opentad_config,
    seconds_of,
    yaml_value,
)
from tests.pipeline.exports.test_gtad import gtad_options


def make_clock_store(path: Path, plan: SnippetPlan) -> FeatureStore:
    """A store whose rows hold the moment of their center, in seconds, in channel 0: a reader sees when it was."""
    store = make_store(path, plan)
    for video_id in store.ids():
        sequence = store.read(video_id)
        rows = np.array(sequence.features)
        own = sequence.plan
        rows[:, 0] = np.arange(len(rows)) * float(own.stride_seconds) + float(own.window_seconds) / 2
        with store.writer(video_id) as writer:
            writer.append(rows)
            writer.commit({"rows": rows_as_json(own), "duration_seconds": sequence.duration_seconds})
    return store


def read_opentad(out: Path, rows: int) -> dict:
    """By id: features, the bounds of each segment in rows, the place in a row of what it stands for, seconds a row."""
    config = opentad_config(out)["dataset"]["train"]
    assert (config["type"], config["resize_length"]) == ("AnetResizeDataset", rows)
    assert [step["type"] for step in config["pipeline"]][:3] == ["LoadFeats", "ConvertToTensor", "ResizeFeat"]
    found = {}
    for name, entry in json.loads(Path(config["ann_file"]).read_text())["database"].items():
        features = np.load(f"{config['data_path']}{config['pipeline'][0]['prefix']}{name}.npy")
        duration = float(entry["duration"])
        grid = [[min(max(s / duration, 0), 1) * rows for s in item["segment"]] for item in entry["annotations"]]
        found[name] = features, grid, 0.5, duration / rows
    return found


def read_actionformer(out: Path, rows: int) -> dict:
    assert (yaml_value(out, "dataset_name"), yaml_value(out, "feat_stride")) == ("anet", "-1")
    assert (yaml_value(out, "max_seq_len"), yaml_value(out, "force_upsampling")) == (str(rows), "False")
    folder, prefix = Path(json.loads(yaml_value(out, "feat_folder"))), json.loads(yaml_value(out, "file_prefix"))
    found = {}
    database = json.loads(Path(json.loads(yaml_value(out, "json_file"))).read_text())["database"]
    for name, entry in database.items():
        features = np.load(folder / f"{prefix}{name}.npy")
        stride = entry["duration"] * entry["fps"] / len(features)
        num_frames = stride * int(yaml_value(out, "num_frames"))
        grid = [
            [(s * entry["fps"] - 0.5 * num_frames) / stride for s in item["segment"]] for item in entry["annotations"]
        ]
        found[name] = features, grid, 0.0, stride / entry["fps"]
    return found


def read_gtad(out: Path, rows: int) -> dict:
    h5py = pytest.importorskip("h5py")
    options = gtad_options(out, "activitynet")
    assert (options.temporal_scale, options.max_duration, options.feat_dim) == (rows, rows, 6)
    annotations = json.loads(Path(options.video_anno).read_text())
    found, subsets = {}, {}
    with h5py.File(options.feature_path) as file, Path(options.video_info).open() as info:
        for line in csv.DictReader(info):
            name = line["video"]
            entry = annotations[name]
            corrected = float(entry["feature_frame"]) / entry["duration_frame"] * entry["duration_second"]
            grid = [[max(min(1, s / corrected), 0) * rows for s in item["segment"]] for item in entry["annotations"]]
            found[name.removeprefix("v_")] = file[name][()], grid, 0.5, corrected / rows
            subsets[name.removeprefix("v_")] = line["subset"]
    assert subsets == {name: subset for name, (subset, _, _) in VIDEOS.items()}
    return found


READERS = {"opentad": read_opentad, "actionformer": read_actionformer, "gtad": read_gtad}


@pytest.mark.parametrize("rows", [8, 100])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("consumer", READERS)
def test_every_time_is_read_back_and_rows_show_the_moment_they_stand_for(tmp_path, consumer, plan, rows):
    if consumer == "gtad":
        pytest.importorskip("h5py")
    store = make_clock_store(tmp_path / "store", plan)
    out = tmp_path / "out"
    prefix = "" if consumer == "gtad" else "v_"
    export(store, make_annotations(), out, ExportConfig(to=consumer, prefix=prefix, resize_snippets=rows))
    found = READERS[consumer](out, rows)
    assert set(found) == set(VIDEOS)
    for name, (features, grid, center, row_seconds) in found.items():
        duration, stored = VIDEOS[name][1], store.read(name).features[:, 0]
        assert features.shape == (rows, 6)
        assert row_seconds * rows == pytest.approx(duration)
        # A row's coordinate is j + center in the toolkit; it stands for the middle of the part [j, j + 1) / rows.
        moments = (np.arange(rows) + 0.5) * row_seconds
        tolerance = row_seconds / 2 + 1e-3
        np.testing.assert_allclose(features[:, 0], moments.clip(stored[0], stored[-1]), atol=tolerance)
        inner = (moments - row_seconds / 2 >= stored[0]) & (moments + row_seconds / 2 <= stored[-1])
        np.testing.assert_allclose(features[inner, 0], moments[inner], atol=1e-3)
        assert inner.any()
        for bounds, (segment, _) in zip(grid, seconds_of(name), strict=True):
            for coordinate, true in zip(bounds, segment, strict=True):
                assert (coordinate - center + 0.5) * row_seconds == pytest.approx(true, abs=tolerance)
                seen = np.interp(coordinate - center, np.arange(rows), features[:, 0])
                assert seen == pytest.approx(np.clip(true, features[0, 0], features[-1, 0]), abs=tolerance)


@pytest.mark.parametrize(("length", "rows"), [(1, 4), (7, 3), (40, 7), (9, 30), (50, 1)])
def test_resizing_equals_a_plain_loop(length, rows):
    features = np.random.default_rng(length).normal(size=(length, 5)).astype(np.float32)
    stride, window, duration = 0.4, 1.0, length * 0.4 + 0.25
    got = resize_to_span(features, rows, stride_seconds=stride, window_seconds=window, duration_seconds=duration)
    centers = [i * stride + window / 2 for i in range(length)]
    for j in range(rows):
        begin, end = j * duration / rows, (j + 1) * duration / rows
        pieces = math.ceil((end - begin) / stride - 1e-9)
        at = [begin + (k + 0.5) * (end - begin) / pieces for k in range(pieces)]
        want = [np.mean([np.interp(t, centers, features[:, c]) for t in at]) for c in range(5)]
        np.testing.assert_allclose(got[j], want, atol=1e-5)


def test_half_precision_stays_and_a_constant_stays_what_it_is():
    features = np.full((20, 3), 0.3, np.float16)
    got = resize_to_span(features, 7, stride_seconds=0.5, window_seconds=2.0, duration_seconds=10.2)
    assert got.dtype == np.float16
    assert (got == np.float16(0.3)).all()


def test_the_annotations_of_gtads_activitynet_layout_are_bsns(tmp_path):
    pytest.importorskip("h5py")
    store = make_store(tmp_path / "store", ids=(*VIDEOS, "empty"))
    empty = VideoAnnotations("empty", "training", 10.0, None, ())
    report = export(
        store, make_annotations({"empty": empty}), tmp_path / "out", ExportConfig(to="gtad", resize_snippets=10)
    )
    assert any("left out 1 video without segments" in note for note in report.notes)
    read = read_annotations(tmp_path / "out/anet_anno_action.json")
    assert read.dialect == "bsn"
    assert read.subsets() == {"training": 2, "validation": 1}
    truth = read_annotations(tmp_path / "out/activity_net.json")
    assert set(truth.videos) == {*VIDEOS, "empty"}
    for name, video in truth.videos.items():
        if name != "empty":
            assert read.videos[f"v_{name}"].segments == video.segments


def test_what_cannot_be_resized_is_refused(tmp_path):
    with pytest.raises(PipelineError, match="resize_snippets must be >= 0, got -1"):
        ExportConfig(to="gtad", resize_snippets=-1)
    with pytest.raises(PipelineError, match="fiftyone gets no features"):
        ExportConfig(to="fiftyone", resize_snippets=100)
    store = make_store(tmp_path / "store")
    with store.writer("b") as writer:
        writer.append(np.zeros((0, 6), np.float32))
        writer.commit({"duration_seconds": 20.0})
    with pytest.raises(PipelineError, match="b has no rows to resize; extract it with --tail pad"):
        export(store, make_annotations(), tmp_path / "out", ExportConfig(to="opentad", resize_snippets=8))
    store = make_store(tmp_path / "twins", ids=(*VIDEOS, "v_b"))
    twin = VideoAnnotations("v_b", "training", 10.0, None, (Segment((1.0, 2.0), "run"),))
    with pytest.raises(PipelineError, match="differ only by v_"):
        export(store, make_annotations({"v_b": twin}), tmp_path / "out", ExportConfig(to="gtad", resize_snippets=8))
