"""Merge stores, and list what is in one."""

from dataclasses import replace

import pytest

from pipeline.errors import PipelineError
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.contents import sequence_lines, totals
from pipeline.store.tools.merge import merge
from pipeline.store.tools.verify import verify_store
from tests.pipeline.store.test_tools import VIDEOS, store  # noqa: F401
from tests.stores import PLAN, make_store


def test_merged_stores_hold_the_sequences_of_all(tmp_path):
    parts = [dict(list(VIDEOS.items())[:3]), dict(list(VIDEOS.items())[2:])]
    one, other = (make_store(tmp_path / f"part{n}", part) for n, part in enumerate(parts))
    one.write_failure("e", kind="timeout", reason="too slow", source={})
    one.write_failure("z", kind="corrupt", reason="damaged", source={})
    summary = merge([one, other], tmp_path / "merged")
    merged = FeatureStore.open(tmp_path / "merged")
    assert (summary.copied, summary.present, summary.failures) == (5, 0, 1)
    assert merged.fingerprint() == make_store(tmp_path / "whole", VIDEOS).fingerprint()
    assert merged.failed_ids() == ["z"]
    assert verify_store(merged, deep=True) == []
    assert merge([one, other], tmp_path / "merged").present == 5


def test_stores_that_contradict_each_other_are_not_merged(tmp_path):
    one, other = make_store(tmp_path / "one", VIDEOS), make_store(tmp_path / "other", {"e": VIDEOS["e"] + 1})
    with pytest.raises(PipelineError, match=r"1 video has different features in two stores: e \(.*one and .*other\)"):
        merge([one, other], tmp_path / "merged")
    assert FeatureStore.open(tmp_path / "merged").ids() == []
    unlike = make_store(tmp_path / "unlike", VIDEOS, plan=replace(PLAN, tail="drop"))
    with pytest.raises(PipelineError, match=r"different settings.*rows\.tail: 'pad' here, 'drop' there"):
        merge([one, unlike], tmp_path / "merged2")
    assert not (tmp_path / "merged2").exists()
    with pytest.raises(PipelineError, match="two or more"):
        merge([one], tmp_path / "merged2")


def test_a_damaged_array_is_not_merged(tmp_path):
    one, other = make_store(tmp_path / "one", {"a": VIDEOS["a"]}), make_store(tmp_path / "other", {"e": VIDEOS["e"]})
    other.array_path("e").write_bytes(other.array_path("e").read_bytes()[:-1] + b"\x01")
    with pytest.raises(PipelineError, match="not the array that its sidecar describes"):
        merge([one, other], tmp_path / "merged")
    assert FeatureStore.open(tmp_path / "merged").ids() == ["a"]


def test_contents_come_from_the_sidecars(store):  # noqa: F811
    for file in (store.path / "features").glob("*.npy"):
        size = file.stat().st_size
        file.write_bytes(bytes(size))  # no array is read
    assert [(line.id, line.rows, line.seconds, line.dtype) for line in sequence_lines(store)] == sorted(
        (name, len(rows), len(rows) / 2, "float32") for name, rows in VIDEOS.items()
    )
    found = totals(store)
    assert (found.videos, found.rows, found.failures, found.incomplete) == (5, 510, {"timeout": 1}, 0)
    assert found.hours == pytest.approx(510 / 2 / 3600)
    assert found.gigabytes == pytest.approx(510 * 4 * 4 / 1e9)
