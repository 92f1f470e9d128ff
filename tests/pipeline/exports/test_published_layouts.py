"""Features in the layouts of their publishers become the same rows: each file is written as their code writes it."""

import pickle

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat

from pipeline.annotations import Annotations, VideoAnnotations
from pipeline.errors import PipelineError
from pipeline.exports import ImportConfig, import_features

ROWS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
SAMPLING = {"fps": 25.0, "stride_frames": 16, "window_frames": 16}


def imported(source, out, annotations=None, **options):
    config = ImportConfig(**(SAMPLING | options))
    return import_features(source, out, config, annotations=annotations)


def as_csv_with_names(path, rows):  # BSN's features of ActivityNet: pandas writes a line of names
    np.savetxt(
        path, rows, delimiter=",", header=",".join(f"f{i}" for i in range(rows.shape[1])), comments="", fmt="%.9g"
    )


def as_mat_7_3(path, rows):  # MATLAB stores arrays by columns, so HDF5 sees them transposed
    with h5py.File(path, "w", userblock_size=512) as file:
        file["fc6"] = rows.T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(128))


WRITERS = {
    "plain.csv": lambda path, rows: np.savetxt(path, rows, delimiter=",", fmt="%.9g"),
    "names.csv": as_csv_with_names,
    "spaces.csv": lambda path, rows: np.savetxt(path, rows, fmt="%.9g"),
    "tensor.pt": lambda path, rows: torch.save(torch.from_numpy(rows), path),
    "dict.pt": lambda path, rows: torch.save({"feats": torch.from_numpy(rows), "fps": torch.tensor(25)}, path),
    "old.mat": lambda path, rows: savemat(path, {"fc6": rows}),
    "new.mat": as_mat_7_3,
    "named.npz": lambda path, rows: np.savez(path, feats=rows, fps=25),
    "pooled.npy": lambda path, rows: np.save(path, rows[:, :, None, None]),  # the output of an average pooling
    "batch.npy": lambda path, rows: np.save(path, rows[None]),
}


@pytest.mark.parametrize("name", WRITERS)
def test_rows_are_those_that_were_written(name, tmp_path):
    (tmp_path / "in").mkdir()
    WRITERS[name](tmp_path / "in" / name, ROWS)
    store, report = imported(tmp_path / "in", tmp_path / "out")
    assert report.failed == {}
    np.testing.assert_allclose(store.read(name.split(".")[0]).features, ROWS, rtol=1e-6)


@pytest.mark.parametrize("array", [ROWS.T, ROWS.T[:, :, None, None]])
def test_channels_first(array, tmp_path):
    torch.save(torch.from_numpy(array.copy()), tmp_path / "a.pt")
    store, _ = imported(tmp_path / "a.pt", tmp_path / "out", channels_first=True)
    np.testing.assert_array_equal(store.read("a").features, ROWS)


# UCF-Crime's and ShanghaiTech's I3D features are [T, 10, C], others [10, T, C].
@pytest.mark.parametrize("axis", [0, 1])
def test_ten_crops_are_averaged_or_kept_as_channels(axis, tmp_path):
    crops = np.random.default_rng(1).normal(size=(10, 7, 3)).astype(np.float32)
    np.save(tmp_path / "a.npy", np.moveaxis(crops, 0, axis))
    mean, _ = imported(tmp_path / "a.npy", tmp_path / "mean", crops="mean")
    np.testing.assert_allclose(mean.read("a").features, crops.mean(0), rtol=1e-4, atol=1e-6)
    kept, _ = imported(tmp_path / "a.npy", tmp_path / "kept", crops="keep")
    np.testing.assert_array_equal(kept.read("a").features, np.concatenate(list(crops), axis=1))
    with pytest.raises(PipelineError, match=r"has three axes, .* say --crops mean or --crops keep"):
        imported(tmp_path / "a.npy", tmp_path / "none")


def test_crops_that_cannot_be_told_from_times_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((10, 10, 3), np.float32))
    with pytest.raises(
        PipelineError, match=r"must have one axis of 5 or 10 crops before the last, it is \[10, 10, 3\]"
    ):
        imported(tmp_path / "a.npy", tmp_path / "out", crops="mean")


def test_resized_rows_span_each_video(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        as_csv_with_names(tmp_path / "in" / f"v_{name}.csv", np.full((100, 3), ord(name), np.float32))
    videos = {i: VideoAnnotations(i, "training", d, None, ()) for i, d in (("a", 50.0), ("b", 123.45), ("c", None))}
    resized = {"fps": "resized", "stride_frames": 1, "window_frames": 1, "prefix": "v_"}
    store, report = imported(tmp_path / "in", tmp_path / "out", Annotations("", videos, ()), **resized)
    assert report.failed == {"c": "the annotations do not give its duration"} and report.notes == []
    for name, duration in (("a", 50.0), ("b", 123.45)):
        sequence = store.read(name)
        assert float(sequence.plan.stride_seconds) == pytest.approx(duration / 100, rel=1e-12)
        assert sequence.plan.window_seconds == sequence.plan.stride_seconds
        assert sequence.duration_seconds == duration
    with pytest.raises(PipelineError, match="needs annotations with the duration of each video"):
        imported(tmp_path / "in", tmp_path / "none", **resized)
    with pytest.raises(
        PipelineError, match="with fps='resized' stride_frames and window_frames must be 1, got 4 and 1"
    ):
        ImportConfig(fps="resized", stride_frames=4, window_frames=1)


def test_rgb_and_flow_of_two_folders_are_joined_by_their_names(tmp_path):
    flow = np.random.default_rng(2).normal(size=(6, 2)).astype(np.float32)  # one less: motion is between frames
    for folder, name, rows in (("rgb", "v_a_rgb", ROWS), ("flow", "v_a_flow", flow), ("rgb", "v_b_rgb", ROWS)):
        (tmp_path / folder).mkdir(exist_ok=True)
        np.save(tmp_path / folder / f"{name}.npy", rows)
    for folder, name, count in (("rgb", "v_c_rgb", 7), ("flow", "v_c_flow", 4)):
        np.save(tmp_path / folder / f"{name}.npy", ROWS[:count])
    both = {"flow": tmp_path / "flow", "prefix": "v_", "suffixes": ("_rgb", "_flow")}
    store, report = imported(tmp_path / "rgb", tmp_path / "out", **both)
    np.testing.assert_array_equal(store.read("a").features, np.concatenate([ROWS[:6], flow], axis=1))
    assert store.spec.stream_channels == (3, 2)
    assert report.done == ["a"] and list(report.failed) == ["b", "c"]
    assert "has no partner in the other stream" in report.failed["b"]
    assert "has 7 rows and its flow 4" in report.failed["c"]


def test_two_streams_side_by_side_in_one_file_are_known_and_can_be_kept_alone(tmp_path):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", ROWS)
    for name, stream, columns, widths in (
        ("both", None, slice(0, 3), (2, 1)),
        ("rgb", "rgb", slice(0, 2), ()),
        ("flow", "flow", slice(2, 3), ()),
    ):
        store, _ = imported(tmp_path / "in", tmp_path / name, stream_channels=(2, 1), stream=stream)
        np.testing.assert_array_equal(store.read("a").features, ROWS[:, columns])
        assert store.spec.stream_channels == widths
    with pytest.raises(PipelineError, match="has 3 channels, but stream_channels 2 and 2 are 4"):
        imported(tmp_path / "in", tmp_path / "out", stream_channels=(2, 2))
    with pytest.raises(PipelineError, match="stream=rgb needs stream_channels"):
        ImportConfig(fps=1, stride_frames=1, window_frames=1, stream="rgb")
    with pytest.raises(PipelineError, match="must be the channels of RGB and of flow in one file"):
        ImportConfig(fps=1, stride_frames=1, window_frames=1, stream_channels=(2, 1), flow=tmp_path)


class Opens:
    """Runs code when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


BAD = {
    "words.csv": lambda path: path.write_text("a,b\nc,d\n"),
    "ragged.csv": lambda path: path.write_text("1,2\n3\n"),
    "empty.csv": lambda path: path.write_text(""),
    "code.pt": lambda path: torch.save({"feats": Opens(path.parent / "ran")}, path),
    "bare.pt": lambda path: path.write_bytes(pickle.dumps(Opens(path.parent / "ran"))),
    "several.pt": lambda path: torch.save({"a": torch.ones(2, 3), "b": torch.ones(2, 3)}, path),
    "whole.pt": lambda path: torch.save(torch.ones(2, 3, dtype=torch.int64), path),
    "stretched.pt": lambda path: torch.save(torch.ones(1, 1).expand(1 << 20, 1 << 9), path),
    "cut.mat": lambda path: path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(128) + b"x" * 9),
    "text.mat": lambda path: savemat(path, {"words": "no numbers"}),
    "places.npy": lambda path: np.save(path, np.ones((4, 3, 2, 2), np.float32)),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_costs_only_itself(name, tmp_path):
    (tmp_path / "in").mkdir()
    kind = name.split(".")[1]
    good = {"csv": "plain.csv", "pt": "tensor.pt", "mat": "old.mat", "npy": "batch.npy"}[kind]
    WRITERS[good](tmp_path / "in" / good, ROWS)
    BAD[name](tmp_path / "in" / name)
    _, report = imported(tmp_path / "in", tmp_path / "out")
    assert report.done == [good.split(".")[0]]
    assert list(report.failed) == [name.split(".")[0]] and "\n" not in report.failed[name.split(".")[0]]
    assert not (tmp_path / "in" / "ran").exists()


def test_lists_beside_features_are_left_alone(tmp_path):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", ROWS)
    (tmp_path / "in" / "classes.csv").write_text("1,jump\n")
    _, report = imported(tmp_path / "in", tmp_path / "out")
    assert report.done == ["a"] and report.failed == {}
