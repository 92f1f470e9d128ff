"""Feature files that lie, reach elsewhere, run code or burst: each costs only itself, and no memory."""

import copy
import io
import json
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.exports import ExportConfig, ImportConfig, export, import_export, import_features
from pipeline.exports.claims import BadArray
from pipeline.exports.pickled import array_of_pickle
from tests.test_exports import make_annotations, make_store

FEATURES = np.arange(40, dtype=np.float32).reshape(5, 8)


def failures(folder: Path, also: set[str] = frozenset(), **options) -> dict[str, str]:
    """What is said of the bad items, once the good ones are imported; the memory that it takes is little."""
    config = ImportConfig(fps=30, stride_frames=16, window_frames=16, **options)
    tracemalloc.start()
    try:
        store, report = import_features(folder, folder.parent / "store", config)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert set(report.done) == set(store.ids()) == {"good", *also}
    np.testing.assert_array_equal(store.read("good").features, FEATURES)
    assert peak < 30e6
    for reason in report.failed.values():
        assert reason.isprintable()
    return report.failed


def says(failed: dict[str, str], expected: dict[str, str]) -> None:
    assert set(failed) == set(expected)
    for name, text in expected.items():
        assert text in failed[name], (name, failed[name])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def test_hdf5_reaches_no_other_file(folder):
    h5py = pytest.importorskip("h5py")
    other, raw = folder.parent / "other.h5", folder.parent / "raw.bin"
    raw.write_bytes(FEATURES.tobytes())
    with h5py.File(other, "w") as file:
        file["x"] = file["g/feats"] = FEATURES
    with h5py.File(folder / "all.h5", "w") as file:
        file["good"] = FEATURES
        file["linked"] = h5py.ExternalLink(str(other), "x")
        file["linked group"] = h5py.ExternalLink(str(other), "g")
        file["around"] = h5py.SoftLink("/linked group/feats")
        file["inside/feats"] = h5py.ExternalLink(str(other), "x")
        file.create_dataset("external", (5, 8), "f4", external=[(str(raw), 0, raw.stat().st_size)])
        layout = h5py.VirtualLayout((5, 8), "f4")
        layout[:] = h5py.VirtualSource(str(other), "x", (5, 8))
        file.create_virtual_dataset("virtual", layout)
    link = "is a link to another file"
    says(
        failures(folder),
        {
            "linked": f"all.h5, key linked: linked {link}",
            "linked group": link,
            "around": link,
            "inside": link,
            "external": "external storage",
            "virtual": "a virtual data set",
        },
    )


def test_an_hdf5_item_that_is_no_array_costs_only_itself(folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "a.h5", "w") as file:
        file["good"] = h5py.SoftLink("kept/feats")
        file["group/in/group"] = FEATURES
        file["two/a"] = file["two/b"] = FEATURES
        file.create_group("empty")
        file["nowhere"] = h5py.SoftLink("/absent")
        file["circle"] = h5py.SoftLink("/round")
        file["round"] = h5py.SoftLink("/circle")
        file["itself"] = file["/"]
        file["type"] = np.dtype("f4")
        file["null"] = h5py.Empty("f4")
        file["scalar"] = 1.0
        file["text"] = "features"
        file.create_dataset("references", (5, 8), h5py.ref_dtype)
        file.create_dataset("lists", (5, 8), h5py.vlen_dtype(np.float32))
        file.create_dataset("fields", (5, 8), [("x", "f4")])
        file.create_dataset("unwritten", (5, 8), "f4")
        file.create_dataset("half", (6, 8), "f4", chunks=(3, 8))[:3] = 1
        file[b"\xff\x1b"] = FEATURES
        hidden = file.create_group("kept")
        hidden["feats"] = FEATURES
        del hidden
    (folder / "b.h5").write_bytes(b"x" * 100)
    with h5py.File(folder / "c.h5", "w"):
        pass
    two_axes, numbers = "must be an array of two axes", "must be of floating-point numbers"
    failed = failures(folder, also={"kept"})
    says(
        failed,
        {
            "group": "a.h5, key group: /group/in is no array but a group",
            "two": "has no array 'feats'; it has a, b: choose one with key",
            "empty": "has no array 'feats'; it has none",
            "nowhere": "leads nowhere: there is no absent",
            "circle": "is a link that leads in a circle",
            "round": "is a link that leads in a circle",
            "itself": "has no array 'feats'",
            "type": "is no array but a datatype",
            "null": two_axes,
            "scalar": two_axes,
            "text": two_axes,
            "references": numbers,
            "lists": numbers,
            "fields": numbers,
            "unwritten": "not all of its values were written",
            "half": "not all of its values were written",
            "\\xff\x1b": "key \\xff\\x1b: \\xff\\x1b leads nowhere",
            "b.h5": "b.h5 cannot be read as HDF5",
            "c.h5": "c.h5 holds nothing",
        },
    )


def test_hdf5_that_claims_more_than_it_holds_is_refused_before_memory_is_asked_for(folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "a.h5", "w") as file:
        file["good"] = FEATURES
        file.create_dataset("exabyte", (10**9, 10**9), "f4", chunks=(1024, 1024))
        file.create_dataset("contiguous", (10**5, 10**4), "f4")
        file.create_dataset("chunk", (5, 8), "f4", chunks=(10**4, 10**4), maxshape=(None, None), compression="gzip")
        bomb = file.create_dataset("bomb", (1 << 14, 1200), "f4", chunks=(1 << 10, 1200), compression="gzip")
        for start in range(0, len(bomb), 1 << 10):
            bomb[start : start + (1 << 10)] = 0
    says(
        failures(folder),
        {
            "exabyte": "claims an array of 4e+09 GB; at most 4.29 GB",
            "contiguous": "claims an array of 4 GB and holds 0 GB",
            "chunk": "claims an array of 0.4 GB",
            "bomb": "no features compress so well",
        },
    )


def npy_bytes(shape: str, descr: str = "<f4", length: int | None = None, version: int = 1) -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    count = (len(header) if length is None else length).to_bytes(2 * version, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + count + header


ABSURD = {
    "terabytes": npy_bytes("(1000000000, 1000)"),
    "overflow": npy_bytes("(4294967296, 4294967296)"),
    "negative": npy_bytes("(-5, -8)"),
    "one axis short": npy_bytes("(5,)"),
    "digits": npy_bytes(f"({'9' * 4000}, 8)"),
    "more digits": npy_bytes(f"({'9' * 5000}, 8)"),
    "nested": npy_bytes("(" * 900 + ")" * 900),
    "minus": npy_bytes("(" + "-" * 4000 + "5, 8)"),
    "header of 4 GB": npy_bytes("(5, 8)", length=0xFFFFFFFF, version=2),
    "version": npy_bytes("(5, 8)", version=4),
    "objects": npy_bytes("(5, 8)", "|O") + pickle.dumps([0]),
    "wide text": npy_bytes("(5, 8)", "<U999999999"),
    "short": npy_bytes("(5, 8)") + bytes(100),
    "nothing": b"",
    "html": b"<!DOCTYPE html>\x1b[31m",
}


def test_npy_files_that_lie_cost_only_themselves(folder):
    np.save(folder / "good.npy", FEATURES)
    for name, content in ABSURD.items():
        (folder / f"{name}.npy").write_bytes(content)
    failed = failures(folder)
    assert set(failed) == set(ABSURD)
    assert "is too short for it" in failed["terabytes"]
    assert "max_header_size" not in " ".join(failed.values())


def test_npz_files_that_lie_or_burst_cost_only_themselves(folder):
    np.savez(folder / "good.npz", feats=FEATURES)
    for name, content in ABSURD.items():
        with zipfile.ZipFile(folder / f"{name}.npz", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("feats.npy", content)
    whole = io.BytesIO()
    np.save(whole, FEATURES)
    with zipfile.ZipFile(folder / "outside.npz", "w") as file:
        file.writestr("../../outside.npy", whole.getvalue())
        file.writestr("/etc/outside.npy", whole.getvalue())
    with zipfile.ZipFile(folder / "twice.npz", "w") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("feats.npy", whole.getvalue())
        file.writestr("feats.npy", whole.getvalue())
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as file, file.open("feats.npy", "w") as member:
        member.write(npy_bytes("(16384, 1200)"))
        for _ in range(64):
            member.write(bytes(16384 * 1200 * 4 // 64))
    (folder / "an npy.npz").write_bytes(whole.getvalue())
    torn = (folder / "good.npz").read_bytes()
    (folder / "torn.npz").write_bytes(torn[: len(torn) // 2])
    (folder / "crc.npz").write_bytes(torn.replace(FEATURES.tobytes(), FEATURES[::-1].tobytes()))
    failed = failures(folder)
    more = {"outside", "twice", "bomb", "an npy", "torn", "crc"}
    assert set(failed) == set(ABSURD) | more
    assert "has 2 arrays 'feats'" in failed["twice"]
    assert "no features compress so well" in failed["bomb"]
    assert "it has ../../outside, /etc/outside: choose one with key" in failed["outside"]
    assert sorted(p.name for p in folder.parent.iterdir()) == ["in", "store"]


class Calls:
    """What is pickled as a call."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


reconstruct = np.zeros(1).__reduce__()[0]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "f2", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pickled_arrays_come_back(protocol, dtype, order):
    array = np.asarray(FEATURES, dtype=dtype, order=order)
    found = array_of_pickle(pickle.dumps(array, protocol=protocol))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_arrays_that_python_2_pickled_come_back():
    values = FEATURES.tobytes()
    content = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03(K\x01K\x05"
        b"K\x08\x86cnumpy\ndtype\nq\x04U\x02f4K\x00K\x01\x87Rq\x05(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + len(values).to_bytes(4, "little") + values + b"tb."
    )
    np.testing.assert_array_equal(array_of_pickle(content), FEATURES)


def test_a_pickle_makes_no_memory_and_runs_nothing(folder, capsys):
    doubling = b"".join([b"\x80\x04)", *[b"\x94h" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60)]])
    bad = {
        "uninitialised": pickle.dumps(Calls(reconstruct, (np.ndarray, (5, 8), "f4"))),
        "called": pickle.dumps(Calls(np.ndarray, ((5, 8), "f4"))),
        "huge": pickle.dumps(Calls(np.ndarray, ((1 << 40, 8), "f4"))),
        "short": pickle.dumps(FEATURES).replace(FEATURES.tobytes()[:20], b""),
        "code": pickle.dumps(Calls(print, ("code ran",))),
        "escape": b"c\x1b[31mos\nsystem\n.",
        "objects": pickle.dumps(np.array([[{}]], dtype=object)),
        "dict": pickle.dumps({"feats": FEATURES}),
        "long bytes": b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"x.",
        "long bytearray": b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"x.",
        "far memo": b"\x80\x04Nr\xff\xff\xff\x7f.",
        "hash of years": b"}" + doubling + b"Ns.",
        "words of years": doubling + b".",
    }
    for name, content in bad.items():
        (folder / f"{name}.pkl").write_bytes(content)
    (folder / "good.pkl").write_bytes(pickle.dumps(FEATURES))
    failed = failures(folder, format="pkl")
    assert set(failed) == set(bad)
    assert "it holds \\x1b[31mos.system; only NumPy arrays are accepted" in failed["escape"]
    assert "only NumPy arrays are accepted" in failed["code"]
    assert capsys.readouterr().out == ""


def test_a_pickle_leaves_nothing_behind_for_the_next():
    with pytest.raises(BadArray):
        array_of_pickle(pickle.dumps(Calls(reconstruct, (np.ndarray, (0,), b"b"), {"__setstate__": 1})))
    np.testing.assert_array_equal(array_of_pickle(pickle.dumps(FEATURES)), FEATURES)


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
    np.save(exported.parent / "elsewhere.npy", FEATURES)
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
        "b": "its features are not those that were exported",
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
            assert store.read(video_id).duration_seconds >= 0
            assert store.read(video_id).plan == store.spec.plan
