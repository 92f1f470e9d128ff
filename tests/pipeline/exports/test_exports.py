"""Exports, read back by readers that are written from the formulas of the toolkits."""

import ast
import json
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations import Annotations, VideoAnnotations, read_annotations
from pipeline.annotations.segments import Segment
from pipeline.errors import PipelineError
from pipeline.exports import ExportConfig, export
from pipeline.exports import opentad as opentad_module
from pipeline.snippets import SnippetPlan
from pipeline.storage.temporary_names import partial_name
from pipeline.store.feature_store import FeatureStore
from pipeline.store.spec import StoreSpec, rows_as_json
from tests import ROOT

DATA = Path(os.environ.get("SOLA_DATA", ROOT / "../shared/data"))
PLANS = {
    "i3d": SnippetPlan(fps=Fraction(30), window_frames=Fraction(64), stride_frames=Fraction(16), num_frames=8),
    "one frame": SnippetPlan(fps=Fraction(30), window_frames=Fraction(1), stride_frames=Fraction(1), num_frames=1),
    "odd window": SnippetPlan(fps=Fraction(25), window_frames=Fraction(15), stride_frames=Fraction(4), num_frames=3),
    "ntsc": SnippetPlan(fps=Fraction(30000, 1001), window_frames=Fraction(16), stride_frames=Fraction(8), num_frames=4),
    "seconds": SnippetPlan(
        fps=Fraction(30000, 1001),
        window_frames=Fraction(1, 2) * Fraction(30000, 1001),
        stride_frames=Fraction(1, 4) * Fraction(30000, 1001),
        num_frames=4,
    ),
    "own rates": SnippetPlan(fps=None, window_frames=Fraction(16), stride_frames=Fraction(4), num_frames=16),
}
RATES = {"walk_a": Fraction(25), "b": Fraction(30000, 1001), "carnival": Fraction(12)}  # of the videos themselves
# id → subset, duration in seconds, segments
VIDEOS = {
    "walk_a": ("training", 61.37, [((0.0, 7.5), "run"), ((12.34, 50.01), "jump"), ((50.01, 61.37), "run")]),
    "b": ("training", 20.0, [((3.3, 4.4), "ski")]),
    "carnival": ("validation", 33.25, [((0.02, 33.25), "ski"), ((1.5, 30.0), "run"), ((2.25, 3.5), "jump")]),
}


def make_store(
    path: Path, plan: SnippetPlan = PLANS["i3d"], ids: tuple[str, ...] = tuple(VIDEOS), dtype: str = "float32"
) -> FeatureStore:
    spec = StoreSpec(
        channels=6,
        dtype=dtype,
        plan=plan,
        encoder={"name": "test"},
        weights={"sha256": "0"},
        precision="fp32",
        decoder="auto",
    )
    store = FeatureStore.create(path, spec)
    rng = np.random.default_rng(0)
    for video_id in ids:
        duration = VIDEOS.get(video_id, ("", 10.0))[1]
        own = plan.at(RATES.get(video_id, Fraction(30)))
        rows = own.count(Fraction(str(duration)))
        with store.writer(video_id) as writer:
            writer.append(rng.normal(size=(rows, 6)).astype(dtype))
            source = {"path": f"/nowhere/{video_id}.mp4"}
            writer.commit({"rows": rows_as_json(own), "duration_seconds": duration, "source": source})
    return store


def make_annotations(extra: dict[str, VideoAnnotations] | None = None) -> Annotations:
    videos = {
        video_id: VideoAnnotations(video_id, subset, duration, None, tuple(Segment(*item) for item in segments))
        for video_id, (subset, duration, segments) in VIDEOS.items()
    }
    return Annotations("1", {**videos, **(extra or {})}, ("fly", "jump", "run", "ski"))


def seconds_of(video_id: str) -> list[tuple[tuple[float, float], str]]:
    return VIDEOS[video_id][2]


def opentad_config(folder: Path) -> dict:
    """The assignments of the configuration that are needed here, evaluated as the toolkit does."""
    values: dict = {}
    exec(compile(ast.parse((folder / "dataset.py").read_text()), "dataset.py", "exec"), values)
    return values


def yaml_value(folder: Path, name: str) -> str:
    lines = (folder / "dataset.yaml").read_text().splitlines()
    return next(line.split(":", 1)[1].strip(" ,") for line in lines if line.strip().startswith(f"{name}:"))


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_opentad_reads_every_time_back(tmp_path, plan):
    store, spec_plan = make_store(tmp_path / "store", plan), plan
    out = tmp_path / "out"
    report = export(store, make_annotations(), out, ExportConfig(to="opentad", prefix="v_"))
    assert (report.training, report.validation, report.segments, report.classes) == (2, 1, 7, 3)
    config = opentad_config(out)
    shared = config["dataset"]["train"]
    stride, offset = shared["feature_stride"], shared["offset_frames"]
    assert isinstance(stride, int) and isinstance(offset, int)
    classes = Path(shared["class_map"]).read_text().splitlines()
    assert classes == ["jump", "run", "ski"]
    assert Path(shared["block_list"]).read_text() == ""
    assert (config["num_classes"], config["in_channels"]) == (3, 6)
    database = json.loads(Path(shared["ann_file"]).read_text())["database"]
    assert {name: entry["subset"] for name, entry in database.items()} == {n: v[0] for n, v in VIDEOS.items()}
    for name, entry in database.items():
        prefix = shared["pipeline"][0]["prefix"]
        features = np.load(f"{shared['data_path']}{prefix}{name}.npy")
        np.testing.assert_array_equal(features, store.read(name).features)
        fps = entry["frame"] / entry["duration"]
        plan = spec_plan.at(RATES[name])
        rows = (np.arange(len(features)) * stride + offset) / fps
        np.testing.assert_allclose(
            rows,
            np.arange(len(features)) * float(plan.stride_seconds) + float(plan.window_seconds) / 2,
            atol=float(plan.stride_seconds) / 2,
        )
        assert abs(len(features) - np.ceil(entry["frame"] / stride)) <= 1
        for item, (segment, label) in zip(entry["annotations"], seconds_of(name), strict=True):
            assert classes[item["label_id"]] == item["label"] == label
            for read, true in zip(item["segment"], segment, strict=True):
                frame = int(read / entry["duration"] * entry["frame"])
                row = (frame - offset) / stride
                assert (row * stride + offset) / fps == pytest.approx(true, abs=float(plan.stride_seconds) / 2)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_actionformer_reads_every_time_back(tmp_path, plan):
    store = make_store(tmp_path / "store", plan)
    out = tmp_path / "out"
    export(store, make_annotations(), out, ExportConfig(to="actionformer"))
    stride, num_frames = int(yaml_value(out, "feat_stride")), int(yaml_value(out, "num_frames"))
    assert (yaml_value(out, "num_classes"), yaml_value(out, "input_dim")) == ("3", "6")
    assert yaml_value(out, "dataset_name") == "anet"
    assert int(yaml_value(out, "max_seq_len")) % 576 == 0
    database = json.loads(Path(json.loads(yaml_value(out, "json_file"))).read_text())["database"]
    folder = Path(json.loads(yaml_value(out, "feat_folder")))
    for name, entry in database.items():
        np.testing.assert_array_equal(np.load(folder / f"{name}.npy"), store.read(name).features)
        truth = sorted(seconds_of(name))
        for item, (segment, label) in zip(sorted(entry["annotations"], key=str), truth, strict=True):
            assert item["label"] == label
            rows = (np.array(item["segment"]) * entry["fps"] - 0.5 * num_frames) / stride
            own = plan.at(RATES[name])
            centers = [i * float(own.stride_seconds) + float(own.window_seconds) / 2 for i in range(5000)]
            np.testing.assert_allclose(
                np.interp(rows, np.arange(5000), centers, left=np.nan)[rows >= 0], np.array(segment)[rows >= 0]
            )


def test_actionformer_uses_its_thumos_loader_only_where_the_class_that_it_drops_is_cliff_diving(tmp_path):
    store = make_store(tmp_path / "store")
    names = ("BaseballPitch", "BasketballDunk", "Billiards", "CleanAndJerk", "CliffDiving", "Diving")
    segments = tuple(Segment((i, i + 1.0), name) for i, name in enumerate(names))
    annotations = make_annotations()
    videos = {i: replace(video, segments=segments) for i, video in annotations.videos.items()}
    thumos = Annotations("1", videos, names)
    export(store, thumos, tmp_path / "a", ExportConfig(to="actionformer"))
    assert yaml_value(tmp_path / "a", "dataset_name") == "thumos"
    database = json.loads((tmp_path / "a/annotations.json").read_text())["database"]
    assert {entry["subset"] for entry in database.values()} == {"validation", "test"}
    other = replace(thumos, labels=tuple(reversed(names)))
    export(store, other, tmp_path / "b", ExportConfig(to="actionformer"))
    assert yaml_value(tmp_path / "b", "dataset_name") == "anet"


def test_actionformer_gets_no_training_video_without_segments(tmp_path):
    store = make_store(tmp_path / "store", ids=(*VIDEOS, "empty"))
    annotations = make_annotations({"empty": VideoAnnotations("empty", "training", 10.0, None, ())})
    report = export(store, annotations, tmp_path / "out", ExportConfig(to="actionformer"))
    assert "empty" not in json.loads((tmp_path / "out/annotations.json").read_text())["database"]
    assert any("left out 1 training video without segments" in note for note in report.notes)


def test_actionformer_users_are_told_of_classes_that_validation_lacks(tmp_path):
    store = make_store(tmp_path / "store")
    annotations = make_annotations()
    video = annotations.videos["carnival"]
    annotations.videos["carnival"] = replace(video, segments=video.segments[:1])
    report = export(store, annotations, tmp_path / "out", ExportConfig(to="actionformer"))
    assert any(note.startswith("2 classes do not occur in the validation subset (jump, run)") for note in report.notes)


def test_classes_that_do_not_occur_leave_no_gap(tmp_path):
    store = make_store(tmp_path / "store")
    annotations = replace(make_annotations(), labels=("ski", "fly", "run", "jump"))
    export(store, annotations, tmp_path / "out", ExportConfig(to="opentad"))
    assert (tmp_path / "out/category_idx.txt").read_text() == "ski\nrun\njump\n"


def test_what_is_left_out_is_told(tmp_path):
    store = make_store(tmp_path / "store", ids=(*VIDEOS, "extra"))
    annotations = make_annotations({"gone": VideoAnnotations("gone", "training", 5.0, None, ())})
    report = export(store, annotations, tmp_path / "out", ExportConfig(to="opentad"))
    note = next(note for note in report.notes if note.startswith("left out"))
    assert "1 annotated without features (gone)" in note
    assert "1 with features but not annotated (extra)" in note
    assert "checked" in report.lines()[0]


def test_ids_that_are_no_file_names_are_encoded_alike_in_files_and_annotations(tmp_path):
    store = make_store(tmp_path / "store", ids=(*VIDEOS, "day 1/clip"))
    segments = (Segment((1.0, 2.0), "run"),)
    annotations = make_annotations({"day 1/clip": VideoAnnotations("day 1/clip", "training", 10.0, None, segments)})
    report = export(store, annotations, tmp_path / "out", ExportConfig(to="opentad"))
    assert (tmp_path / "out/features/day 1%2Fclip.npy").is_file()
    assert "day 1%2Fclip" in json.loads((tmp_path / "out/annotations.json").read_text())["database"]
    assert any("1 id is encoded to be a file name" in note for note in report.notes)


def test_subsets_are_mapped(tmp_path):
    store = make_store(tmp_path / "store")
    config = ExportConfig(to="opentad", train="val", val="train")
    report = export(store, make_annotations(), tmp_path / "out", config)
    assert (report.training, report.validation) == (1, 2)
    with pytest.raises(PipelineError, match=r"no video of subset 'test'.*; choose with --train and --val"):
        export(store, make_annotations(), tmp_path / "b", ExportConfig(to="opentad", val="test"))
    with pytest.raises(PipelineError, match="train and val must be two subsets"):
        ExportConfig(to="opentad", train="x", val="x")


def test_nothing_is_left_when_an_export_cannot_be_done(tmp_path):
    store = make_store(tmp_path / "store", ids=("walk_a",))
    with pytest.raises(PipelineError, match="no video of subset 'validation' has features"):
        export(store, make_annotations(), tmp_path / "out", ExportConfig(to="opentad"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(PipelineError, match="exists and is not empty"):
        export(store, make_annotations(), tmp_path / "full", ExportConfig(to="opentad"))


def test_an_export_that_does_not_check_is_not_kept(tmp_path, monkeypatch):
    store = make_store(tmp_path / "store")
    write = opentad_module.write

    def damaged(job, folder):
        notes = write(job, folder)
        (folder / "features/b.npy").unlink()
        np.save(folder / "features/walk_a.npy", np.zeros((3, 6), np.float32))
        return notes

    monkeypatch.setattr(opentad_module, "write", damaged)
    with pytest.raises(PipelineError, match=r"fails its check.*b\.npy cannot be read.*walk_a\.npy is \[3, 6\]"):
        export(store, make_annotations(), tmp_path / "out", ExportConfig(to="opentad"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_what_a_killed_export_left_is_removed_by_the_next(tmp_path):
    store = make_store(tmp_path / "store")
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    mine = partial_name("out")
    killed = mine.replace(f"{os.getpid()}-", f"{int(ended.stdout)}-")
    for name in (mine, killed):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    export(store, make_annotations(), tmp_path / "out", ExportConfig(to="opentad"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["store", "out", mine])


def test_labels_with_line_breaks_are_caught_by_the_check(tmp_path):
    annotations = make_annotations()
    video = annotations.videos["b"]
    annotations.videos["b"] = replace(video, segments=(Segment((1.0, 2.0), "two\nlines"),))
    annotations = replace(annotations, labels=("jump", "run", "ski", "two\nlines"))
    with pytest.raises(PipelineError, match="a name has a line break"):
        export(make_store(tmp_path / "store"), annotations, tmp_path / "out", ExportConfig(to="opentad"))


@pytest.mark.real_data
@pytest.mark.parametrize("consumer", ["opentad", "actionformer", "fiftyone"])
def test_real_annotations_are_exported(tmp_path, consumer):
    path = DATA / "fall_topdown/annotations.json"
    if not path.exists():
        pytest.skip("no real data")
    annotations = read_annotations(path)
    store = make_store(tmp_path / "store", ids=())
    for video in annotations.videos.values():
        with store.writer(video.id) as writer:
            writer.append(np.ones((store.spec.plan.count(Fraction(str(video.duration))), 6), np.float32))
            (tmp_path / "video.mp4").touch()
            writer.commit({"duration_seconds": video.duration, "source": {"path": f"{tmp_path}/video.mp4"}})
    config = ExportConfig(to=consumer, **({"videos": "link"} if consumer == "fiftyone" else {}))
    report = export(store, annotations, tmp_path / "out", config)
    assert (report.training, report.validation, report.segments, report.classes) == (9, 3, 159, 9)
