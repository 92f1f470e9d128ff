"""Exports for G-TAD, read back by a reader that is written from the formulas of its THUMOS14 code."""

import argparse
import csv
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.exports import ExportConfig, export
from tests.pipeline.exports.test_exports import PLANS, RATES, make_annotations, make_store, seconds_of


def gtad_options(folder: Path, code: str) -> argparse.Namespace:
    """options.txt, read as the parsers of G-TAD's two codes do: the types and flags of their `opts.py`."""
    parser = argparse.ArgumentParser(exit_on_error=True)
    for name in ("video_info", "video_anno", "feature_path"):
        parser.add_argument(f"--{name}", type=str)
    for name in ("feat_dim", "temporal_scale", "max_duration"):
        parser.add_argument(f"--{name}", type=int)
    if code == "thumos":
        parser.add_argument("--skip_videoframes", type=int, default=5)
        parser.add_argument("--override", default=False, action="store_true")
    return parser.parse_args(shlex.split((folder / "options.txt").read_text(), comments=True))


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_gtad_reads_every_time_back(tmp_path, plan):
    h5py = pytest.importorskip("h5py")
    store = make_store(tmp_path / "store", plan)
    out = tmp_path / "the out"
    report = export(store, make_annotations(), out, ExportConfig(to="gtad"))
    options = gtad_options(out, "thumos")
    skip, home = options.skip_videoframes, Path(options.feature_path)
    assert (options.feat_dim, options.override) == (6, True)
    assert options.video_info == options.video_anno == f"{out}/"  # G-TAD puts the names of files behind it
    assert home == out
    with (out / "names.csv").open() as file:
        names = {row["id"]: row["video"] for row in csv.DictReader(file)}
    assert any("names" in note for note in report.notes)
    with (out / "thumos14_test_groundtruth.csv").open() as file:
        truth = list(csv.DictReader(file))
    spec_plan, seen = plan, 0
    for split, ids in (("val", ["walk_a", "b"]), ("test", ["carnival"])):
        with (out / f"{split}_Annotation.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {row["video"] for row in rows} == {names[video_id] for video_id in ids}
        for video_id in ids:
            name = names[video_id]
            plan = spec_plan.at(RATES[video_id])
            rate = float(truth[0]["frame-rate"]) if spec_plan.fps or split == "test" else float(1 / plan.stride_seconds)
            assert ("val" if "val" in name else "test" if "test" in name else None) == split
            with h5py.File(out / f"flow_{split}.h5") as flow, h5py.File(out / f"rgb_{split}.h5") as rgb:
                features = np.concatenate([flow[name][::skip], rgb[name][::skip]], axis=1)
            stored = store.read(video_id).features
            lead = len(features) - len(stored)
            np.testing.assert_array_equal(features[lead:], stored)
            np.testing.assert_array_equal(features[:lead], np.repeat(stored[:1], lead, axis=0))
            true_centers = np.arange(len(stored)) * float(plan.stride_seconds) + float(plan.window_seconds) / 2
            read_centers = skip * np.arange(lead, len(features)) / rate
            np.testing.assert_allclose(read_centers, true_centers, atol=float(plan.stride_seconds) / 2 + 1e-9)
            for row, (segment, label) in zip(
                [r for r in rows if r["video"] == name], seconds_of(video_id), strict=True
            ):
                assert row["type"] == label
                assert int(row["type_idx"]) == 1 + ["jump", "run", "ski"].index(label)
                assert (float(row["start"]), float(row["end"])) == segment
                assert float(row["startFrame"]) / rate == pytest.approx(segment[0], abs=1e-5)
                assert float(row["endFrame"]) / rate == pytest.approx(segment[1], abs=1e-5)
                seen += 1
    assert seen == 7
    assert len(truth) == 3


def test_gtad_without_h5py_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(PipelineError, match="HDF5 files need h5py"):
        export(make_store(tmp_path / "store"), make_annotations(), tmp_path / "out", ExportConfig(to="gtad"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
