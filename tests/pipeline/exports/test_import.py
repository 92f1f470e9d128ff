"""Published features become a store."""

import json
import os
import pickle

import numpy as np
import pytest

from pipeline.annotations import Annotations, VideoAnnotations
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.exports import ExportConfig, ImportConfig, export, import_export, import_features
from tests.pipeline.exports.test_exports import make_annotations, make_store

I3D = ImportConfig(fps=30, stride_frames=4, window_frames=16)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=(rows, 5)).astype(np.float32) for name, rows in (("a", 7), ("b", 1))}


def write_npy(folder, arrays):
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def test_a_folder_of_npy_files_becomes_a_store(tmp_path, arrays):
    store, report = import_features(write_npy(tmp_path / "in", arrays), tmp_path / "out", I3D)
    assert report.done == store.ids() == ["a", "b"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(store.read(name).features, array)
    rows = store.read("a").sidecar["rows"]
    assert rows["stride_seconds"] == pytest.approx(4 / 30)
    assert rows["first_center_seconds"] == pytest.approx(8 / 30)
    assert store.read("a").duration_seconds == pytest.approx((6 * 4 + 16) / 30)
    assert report.notes == ["2 videos are assumed to end with their last row: give annotations with durations"]


def test_rows_at_each_videos_own_rate_take_the_rates_from_the_annotations(tmp_path, arrays):
    folder = write_npy(tmp_path / "in", {**arrays, "c": arrays["a"]})
    own = ImportConfig(fps="video", stride_frames=4, window_frames=16)
    # Seven windows: 40 frames, 1.6 s at 25 a second.
    videos = {
        "a": VideoAnnotations("a", "training", 1.6, 25.0, ()),
        "b": VideoAnnotations("b", "training", 16 * 1001 / 30000, 29.97002997002997, ()),
        "c": VideoAnnotations("c", "training", 3.0, None, ()),
    }
    store, report = import_features(folder, tmp_path / "out", own, annotations=Annotations("", videos, ()))
    assert report.done == ["a", "b"]
    assert report.failed == {"c": "the annotations do not give its rate (fps, or frame and duration)"}
    assert report.notes == []
    assert store.spec.plan.fps is None
    assert store.read("a").sidecar["rows"]["stride_seconds"] == 4 / 25
    assert store.read("b").sidecar["rows"]["stride_seconds"] == pytest.approx(4 * 1001 / 30000, rel=1e-12)
    with pytest.raises(PipelineError, match="needs annotations with the rate of each video"):
        import_features(folder, tmp_path / "other", own)
    with pytest.raises(PipelineError, match="'video' or 'resized', got 'own'"):
        ImportConfig(fps="own", stride_frames=4, window_frames=16)


def test_annotations_give_the_durations_and_odd_lengths_are_told(tmp_path, arrays):
    videos = {name: VideoAnnotations(name, "training", d, None, ()) for name, d in (("v_a", 1.4), ("b", 9.0))}
    _, report = import_features(
        write_npy(tmp_path / "in", arrays), tmp_path / "out", I3D, annotations=Annotations("", videos, ())
    )
    # 1.4 s hold 7 whole windows of 16 frames at a stride of 4; 9 s hold 64.
    assert len(report.notes) == 1
    assert "1 of 2 videos" in report.notes[0] and "b: 1 rows where its 9 s give 64" in report.notes[0]


def test_a_wrong_stride_is_named_with_the_one_that_fits(tmp_path):
    rng = np.random.default_rng(0)
    # 61 windows of 16 frames at a stride of 8 frames, 30 a second.
    arrays = {name: rng.normal(size=(61, 5)).astype(np.float32) for name in "abcd"}
    videos = {name: VideoAnnotations(name, "training", 496 / 30, None, ()) for name in arrays}
    config = ImportConfig(fps=30, stride_frames=16, window_frames=16)
    truth = Annotations("", videos, ())
    _, report = import_features(write_npy(tmp_path / "in", arrays), tmp_path / "out", config, annotations=truth)
    (note,) = report.notes
    assert note.startswith("4 of 4 videos have another number of rows")
    assert "a stride of about 8 frames would fit" in note
    assert "d:" not in note


def test_features_that_were_resized_are_recognized(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(100, 5)).astype(np.float32) for name in "ab"}
    videos = {name: VideoAnnotations(name, "training", d, None, ()) for name, d in (("a", 30.0), ("b", 200.0))}
    truth = Annotations("", videos, ())
    _, report = import_features(write_npy(tmp_path / "in", arrays), tmp_path / "out", I3D, annotations=truth)
    assert "give --fps resized --stride-frames 1 --window-frames 1" in report.notes[0]


def test_annotations_that_do_not_know_the_videos_are_told(tmp_path, arrays):
    truth = Annotations("", {"q": VideoAnnotations("q", "training", 3.0, None, ())}, ())
    _, report = import_features(write_npy(tmp_path / "in", arrays), tmp_path / "out", I3D, annotations=truth)
    assert report.notes == ["2 videos are assumed to end with their last row: the annotations lack their durations"]


def test_the_prefix_is_taken_off_and_channels_first_is_turned(tmp_path, arrays):
    turned = {f"v_{name}": array.T for name, array in arrays.items()}
    config = ImportConfig(fps=30, stride_frames=4, window_frames=16, prefix="v_", channels_first=True)
    store, _ = import_features(write_npy(tmp_path / "in", turned), tmp_path / "out", config)
    np.testing.assert_array_equal(store.read("a").features, arrays["a"])


def lines_of(capsys, *words) -> list[str]:
    """The lines that the command prints."""
    with pytest.raises(SystemExit):
        main(["import", *map(str, words), "--fps", "30", "--stride-frames", "4", "--window-frames", "16"])
    printed = capsys.readouterr()
    return (printed.out + printed.err).splitlines()


def test_one_array_with_its_axes_changed_gets_a_hint(tmp_path, capsys):
    folder = write_npy(tmp_path / "in", {"a": np.ones((9, 7), np.float32), "b": np.ones((7, 12), np.float32)})
    lines = lines_of(capsys, folder, "--out", tmp_path / "out")
    assert any("b.npy has [T, C] = [7, 12]" in line and "it seems to have its axes changed" in line for line in lines)


@pytest.mark.parametrize("case", ["other lengths", "one length", "durations"])
def test_arrays_that_seem_to_have_their_axes_changed_get_a_hint(tmp_path, capsys, case):
    rng = np.random.default_rng(0)
    lengths = {"other lengths": (7, 9), "one length": (7, 7), "durations": (7, 7)}[case]
    channels = 70 if case == "durations" else 64
    arrays = {n: rng.normal(size=(channels, t)).astype(np.float32) for n, t in zip("ab", lengths, strict=True)}
    folder = write_npy(tmp_path / "in", arrays)
    words = [folder, "--out", tmp_path / "out"]
    if case == "durations":
        database = {n: {"subset": "training", "duration": 40 / 30, "annotations": []} for n in "ab"}
        (tmp_path / "a.json").write_text(json.dumps({"database": database}))
        words += ["--annotations", tmp_path / "a.json"]
    hints = [line for line in lines_of(capsys, *words) if "give --channels-first and another --out" in line]
    assert len(hints) == 1 + (case == "other lengths")
    assert ("b.npy has [T, C] = [64, 9], but the rows of the store have 7 channels" in hints[-1]) == (len(hints) == 2)
    words[2] = tmp_path / "again"
    lines = lines_of(capsys, *words, "--channels-first")
    assert f"{tmp_path}/again: 2 sequences, 0 failed" in lines
    assert not any("channels-first" in line for line in lines)


def test_npz_files_are_read_by_key(tmp_path, arrays):
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in/a.npz", feats=arrays["a"], other=arrays["b"])
    np.savez(tmp_path / "in/b.npz", arrays["b"])
    store, _ = import_features(tmp_path / "in", tmp_path / "out", I3D)
    np.testing.assert_array_equal(store.read("a").features, arrays["a"])
    np.testing.assert_array_equal(store.read("b").features, arrays["b"])
    config = ImportConfig(fps=30, stride_frames=4, window_frames=16, key="other")
    store, _ = import_features(tmp_path / "in/a.npz", tmp_path / "other", config)
    np.testing.assert_array_equal(store.read("a").features, arrays["b"])
    config = ImportConfig(fps=30, stride_frames=4, window_frames=16, key="nothing")
    with pytest.raises(PipelineError, match="has no array 'nothing'; it has feats, other"):
        import_features(tmp_path / "in/a.npz", tmp_path / "none", config)


def test_hdf5_files_are_read_by_video(tmp_path, arrays):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["a"] = arrays["a"]
        file["b/c3d_features"] = arrays["b"]
    store, report = import_features(tmp_path / "all.h5", tmp_path / "out", I3D)
    assert report.done == ["a", "b"]
    np.testing.assert_array_equal(store.read("b").features, arrays["b"])


class Malicious:
    def __reduce__(self):
        return (print, ("code ran",))


def test_pickles_are_read_only_when_asked_for_and_only_arrays(tmp_path, arrays, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.pkl").write_bytes(pickle.dumps(arrays["a"]))
    (tmp_path / "in/bad.pkl").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(PipelineError, match="only with format pkl"):
        import_features(tmp_path / "in", tmp_path / "out", I3D)
    config = ImportConfig(fps=30, stride_frames=4, window_frames=16, format="pkl")
    store, report = import_features(tmp_path / "in", tmp_path / "out", config)
    np.testing.assert_array_equal(store.read("a").features, arrays["a"])
    assert "only NumPy arrays are accepted" in report.failed["bad"]
    assert capsys.readouterr().out == ""


def test_a_bad_file_costs_only_itself(tmp_path, arrays):
    folder = write_npy(tmp_path / "in", arrays)
    (folder / "torn.npy").write_bytes(b"\x93NUMPY")
    np.save(folder / "objects.npy", np.array([[{}]], dtype=object), allow_pickle=True)  # a pickle, to be refused
    np.save(folder / "flat.npy", np.zeros(4, np.float32))
    np.save(folder / "empty.npy", np.zeros((0, 5), np.float32))
    np.save(folder / "integers.npy", np.zeros((4, 5), np.int64))
    np.save(folder / "wide.npy", np.zeros((4, 6), np.float32))
    np.save(folder / "nan.npy", np.full((4, 5), np.nan, np.float32))
    np.save(folder / "late.npy", np.where(np.arange(5000 * 5).reshape(5000, 5) == 4500 * 5 + 3, 1e300, 0.0))
    (folder / "gone.npy").symlink_to(tmp_path / "nowhere.npy")
    os.mkfifo(folder / "pipe.npy")
    store, report = import_features(folder, tmp_path / "out", I3D)
    assert store.ids() == ["a", "b"]
    says = {
        "torn": "cannot be read",
        "objects": "must be of floating-point numbers, it is of object",
        "flat": "two axes",
        "empty": "at least one row",
        "integers": "floating-point",
        "wide": r"[4, 6]",
        "nan": "nan.npy is not finite in float32: row 0, column 0 is nan",
        "late": "late.npy is not finite in float32: row 4500, column 3 is 1e+300",
        "gone": "is a link to nothing",
        "pipe": "is no regular file",
    }
    assert set(report.failed) == set(says)
    for name, text in says.items():
        assert text in report.failed[name], name
    assert "--" not in report.failed["nan"]  # `import` has no option that would mend it


def test_bad_sources_give_one_line(tmp_path, arrays):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PipelineError, match="has no feature files"):
        import_features(tmp_path / "empty", tmp_path / "out", I3D)
    with pytest.raises(PipelineError, match=r"no file or folder .*nowhere"):
        import_features(tmp_path / "nowhere", tmp_path / "out", I3D)
    with pytest.raises(PipelineError, match="published features need --fps, --stride-frames and --window-frames"):
        import_export(tmp_path / "empty", tmp_path / "out")
    folder = write_npy(tmp_path / "mixed", arrays)
    np.savez(folder / "c.npz", arrays["a"])
    with pytest.raises(PipelineError, match="several kinds"):
        import_features(folder, tmp_path / "out", I3D)
    (folder / "c.npz").unlink()
    np.save(folder / "v_a.npy", arrays["a"])
    config = ImportConfig(fps=30, stride_frames=4, window_frames=16, prefix="v_")
    with pytest.raises(PipelineError, match="two feature files of video 'a'"):
        import_features(folder, tmp_path / "out", config)
    with pytest.raises(PipelineError, match=r"stride_frames must be > 0, got 0"):
        ImportConfig(fps=30, stride_frames=0, window_frames=16)


def test_an_export_imported_as_published_features_has_the_same_rows_and_times(tmp_path):
    store = make_store(tmp_path / "store")
    export(store, make_annotations(), tmp_path / "out", ExportConfig(to="opentad"))
    config = ImportConfig(fps=30, stride_frames=16, window_frames=64, tail="pad")
    again, report = import_features(
        tmp_path / "out/features", tmp_path / "again", config, annotations=make_annotations()
    )
    assert report.notes == []
    for video_id in store.ids():
        np.testing.assert_array_equal(again.read(video_id).features, store.read(video_id).features)
        assert again.read(video_id).duration_seconds == store.read(video_id).duration_seconds
        for name in ("stride_seconds", "window_seconds", "first_center_seconds"):
            assert again.sidecar(video_id)["rows"][name] == store.sidecar(video_id)["rows"][name]
