"""Pickled arrays: they are read without running anything, and without memory for what they only claim."""

import pickle

import numpy as np
import pytest

from pipeline.exports.claims import BadArray
from pipeline.exports.pickled import array_of_pickle
from tests.pipeline.exports.test_hostile import FEATURES, failures, folder

__all__ = ["folder"]


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
        "uninitialized": pickle.dumps(Calls(reconstruct, (np.ndarray, (5, 8), "f4"))),
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
    assert "holds \\x1b[31mos.system; only NumPy arrays are accepted" in failed["escape"]
    assert "only NumPy arrays are accepted" in failed["code"]
    assert capsys.readouterr().out == ""


def test_a_pickle_leaves_nothing_behind_for_the_next():
    with pytest.raises(BadArray):
        array_of_pickle(pickle.dumps(Calls(reconstruct, (np.ndarray, (0,), b"b"), {"__setstate__": 1})))
    np.testing.assert_array_equal(array_of_pickle(pickle.dumps(FEATURES)), FEATURES)
