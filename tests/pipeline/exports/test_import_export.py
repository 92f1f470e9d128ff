"""A folder that `export` wrote becomes the same store again, and what was changed in it does not."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations import VideoAnnotations
from pipeline.errors import PipelineError
from pipeline.exports import ExportConfig, export, import_export
from pipeline.store.spec import rows_as_json
from tests.pipeline.exports.test_exports import PLANS, VIDEOS, make_annotations, make_store


@pytest.mark.parametrize(("dtype", "plan"), [("float32", "i3d"), ("float16", "i3d"), ("float32", "own rates")])
@pytest.mark.parametrize("consumer", ["opentad", "actionformer", "gtad"])
def test_export_then_import_gives_the_same_store(tmp_path, consumer, dtype, plan):
    if consumer == "gtad":
        pytest.importorskip("h5py")
    store = make_store(tmp_path / "store", PLANS[plan], dtype=dtype)
    if consumer != "gtad":  # it cannot read a video that is shorter than a window
        rows = rows_as_json(store.read("b").plan)
        with store.writer("b") as writer:
            writer.append(np.zeros((0, 6), dtype))
            writer.commit({"rows": rows, "duration_seconds": 20.0})
    export(store, make_annotations(), tmp_path / "out", ExportConfig(to=consumer, prefix="v_"))
    again, report = import_export(tmp_path / "out", tmp_path / "again")
    assert report.done == store.ids() == again.ids()
    assert again.spec == store.spec
    for video_id in store.ids():
        np.testing.assert_array_equal(again.read(video_id).features, store.read(video_id).features)
        assert again.sidecar(video_id) == store.sidecar(video_id)


def test_videos_that_gtads_files_cannot_name_are_told_on_import(tmp_path):
    pytest.importorskip("h5py")
    store = make_store(tmp_path / "store", ids=(*VIDEOS, "empty"))
    annotations = make_annotations({"empty": VideoAnnotations("empty", "training", 10.0, None, ())})
    export(store, annotations, tmp_path / "out", ExportConfig(to="gtad"))
    again, report = import_export(tmp_path / "out", tmp_path / "again")
    assert again.ids() == sorted(VIDEOS)
    assert report.notes == ["empty is not in the export: gtad's files cannot name videos without segments"]


def test_exports_that_do_not_hold_the_rows_are_not_imported(tmp_path):
    store = make_store(tmp_path / "store")
    export(store, make_annotations(), tmp_path / "resized", ExportConfig(to="opentad", resize_snippets=8))
    with pytest.raises(PipelineError, match="exported with resize_snippets 8, and resized rows cannot be"):
        import_export(tmp_path / "resized", tmp_path / "again")
    (tmp_path / "none").mkdir()
    (tmp_path / "none/export.json").write_text('{"to": "fiftyone"}')
    with pytest.raises(PipelineError, match="not an export for opentad, actionformer or gtad"):
        import_export(tmp_path / "none", tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    export(make_store(tmp_path / "store"), make_annotations(), tmp_path / "out", ExportConfig(to="opentad"))
    return tmp_path / "out"


def import_changed(folder: Path, record: dict) -> dict[str, str]:
    (folder / "export.json").write_text(json.dumps(record))
    _, report = import_export(folder, folder.parent / "again")
    return report.failed


@pytest.mark.parametrize("prefix", ["../elsewhere/", "/etc/", "..", "a/../../", "\0", "a" * 300, 5, None])
def test_the_prefix_of_an_export_stays_in_its_folder(exported, prefix):
    record = json.loads((exported / "export.json").read_text())
    np.save(exported.parent / "elsewhere.npy", np.ones((5, 6), np.float32))
    with pytest.raises(PipelineError, match="prefix must be"):
        import_changed(exported, {**record, "prefix": prefix})
    assert not (exported.parent / "again").exists()


@pytest.mark.parametrize("name", ["../features/b", "/etc/b", "x/../b", "", "a" * 300])
def test_the_names_of_an_export_stay_in_its_folder(exported, name):
    record = json.loads((exported / "export.json").read_text())
    record["sidecars"][name] = record["sidecars"].pop("b")
    assert set(import_changed(exported, record)) == {name}


def test_rows_that_are_not_those_exported_are_not_committed(exported):
    np.save(exported / "features/b.npy", np.load(exported / "features/b.npy") + 1)
    (exported / "features/walk_a.npy").unlink()
    _, report = import_export(exported, exported.parent / "again")
    assert report.done == ["carnival"]
    assert report.failed == {
        "b": "its features differ from the exported ones",
        "walk_a": "has no file walk_a.npy",
    }
    assert sorted(p.name for p in (exported.parent / "again/features").iterdir()) == ["carnival.json", "carnival.npy"]


def test_an_export_for_gtad_reaches_no_other_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    folder, other = tmp_path / "out", tmp_path / "other.h5"
    export(make_store(tmp_path / "store"), make_annotations(), folder, ExportConfig(to="gtad"))
    with h5py.File(folder / "rgb_val.h5", "r+") as file, h5py.File(other, "w") as outside:
        for number, name in enumerate(list(file)):
            outside[name] = file[name][()]
            if number == 0:
                del file[name]
                file[name] = h5py.ExternalLink(str(other), name)
    _, report = import_export(folder, tmp_path / "again")
    assert len(report.done) == 2
    assert ["is a link to another file" in reason for reason in report.failed.values()] == [True]
    (folder / "names.csv").write_bytes(b"id,name\n\xff,x\n")
    with pytest.raises(PipelineError, match=r"names\.csv cannot be read as CSV"):
        import_export(folder, tmp_path / "more")


WRONG = [None, -1, 10**400, "x", [1, 2]]


@pytest.mark.parametrize("value", WRONG, ids=[str(v)[:8] for v in WRONG])
def test_fields_of_other_types_in_an_export_give_one_line(exported, value):
    record = json.loads((exported / "export.json").read_text())
    del record["sidecars"]["walk_a"]  # two are enough
    places = [(), *((key,) for key in record), *(("spec", key) for key in record["spec"]), ("sidecars", "b")]
    places += [("sidecars", "b", key) for key in record["sidecars"]["b"]]
    places += [("sidecars", "b", "rows", key) for key in record["sidecars"]["b"]["rows"]]
    for number, place in enumerate(places):
        changed = copy.deepcopy(record)
        if not place:
            changed = value
        else:
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
        (exported / "export.json").write_text(json.dumps(changed))
        try:
            store, report = import_export(exported, exported.parent / f"again{number}")
        except PipelineError as error:
            assert "\n" not in str(error)
            continue
        assert set(report.done) | set(report.failed) >= {"carnival"}
        for video_id in report.done:
            assert 0 <= store.read(video_id).duration_seconds < 1e10
            assert store.read(video_id).plan == store.spec.plan
