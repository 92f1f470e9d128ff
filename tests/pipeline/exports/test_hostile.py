"""Feature files that lie, reach elsewhere, run code or burst: each costs only itself, and no memory."""

import io
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.exports import ImportConfig, import_features

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
            "group": "a.h5, key group: /group/in is not an array but a group",
            "two": "has no array 'feats'; it has a, b: choose one with key",
            "empty": "has no array 'feats'; it has none",
            "nowhere": "leads nowhere: there is no absent",
            "circle": "is a link that leads in a circle",
            "round": "is a link that leads in a circle",
            "itself": "has no array 'feats'",
            "type": "is not an array but a datatype",
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
