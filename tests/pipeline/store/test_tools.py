"""Pack, unpack, merge and list stores."""

import json
import os
import tarfile

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.storage.atomic_files import write_json
from pipeline.storage.temporary_names import partial_name
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools import pack as packing
from pipeline.store.tools.merge import merge
from pipeline.store.tools.pack import pack
from pipeline.store.tools.unpack import unpack
from pipeline.store.tools.verify import verify_store
from tests.pipeline.store.test_leftovers import dead_process
from tests.remote import files_of, remote
from tests.stores import make_store

SMALL = 0.0045
VIDEOS = {name: np.full((100 + n, 4), n, dtype=np.float32) for n, name in enumerate(["a", "b/ü", ".c", "d" * 150, "e"])}


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    store = make_store(tmp_path / "store", VIDEOS)
    store.write_failure("x", kind="timeout", reason="too slow", source={})
    (store.path / "logs").mkdir()
    (store.path / "logs" / "20260101T000000Z-host-1.jsonl").write_text("{}\n")
    (store.path / "sola.safetensors").write_bytes(b"module")
    (store.path / "empty.json").write_bytes(b"")
    return store


def test_unpacking_gives_the_same_bytes(store, tmp_path):
    summary = pack(store, tmp_path / "packed", megabytes=SMALL)
    assert (summary.made, summary.kept) == (5, 0)  # five videos of 3 kB, and 1.4 kB of other files with the last
    shards = [f"shards/{number:06}.tar" for number in range(5)]
    assert sorted(files_of(tmp_path / "packed")) == ["index.json", *shards, "store.json"]
    assert unpack(tmp_path / "packed", tmp_path / "again") == len(files_of(store.path)) == 15
    assert files_of(tmp_path / "again") == files_of(store.path)
    assert verify_store(FeatureStore.open(tmp_path / "again"), deep=True) == []
    assert unpack(tmp_path / "packed", tmp_path / "again") == 0


def test_shards_are_plain_tar_and_a_row_can_be_read_in_its_place(store, tmp_path):
    pack(store, tmp_path / "packed", megabytes=SMALL)
    for shard in sorted((tmp_path / "packed" / "shards").iterdir()):
        with tarfile.open(shard, "r:") as tar:
            tar.extractall(tmp_path / "untarred", filter="data")
    assert files_of(tmp_path / "untarred") == files_of(store.path)
    index = json.loads((tmp_path / "packed" / "index.json").read_text())
    shard, offset, size, _ = index["files"]["features/e.npy"]
    data = (tmp_path / "packed" / "shards" / f"{shard:06}.tar").read_bytes()[offset : offset + size]
    row = np.frombuffer(data[-4 * 4 :], np.float32)
    np.testing.assert_array_equal(row, VIDEOS["e"][-1])


def test_an_interrupted_pack_goes_on_with_the_next_shard_and_equals_one_that_was_not(store, tmp_path, monkeypatch):
    pack(store, tmp_path / "whole", megabytes=SMALL)
    plain = packing._write_shard

    def interrupted(store, sizes, out, number):
        if number == 2:
            raise KeyboardInterrupt
        return plain(store, sizes, out, number)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(packing, "_write_shard", interrupted)
        pack(store, tmp_path / "packed", megabytes=SMALL)
    with pytest.raises(PipelineError, match=r"no index\.json"):
        unpack(tmp_path / "packed", tmp_path / "again")
    summary = pack(store, tmp_path / "packed", megabytes=SMALL)
    assert (summary.made, summary.kept) == (3, 2)
    assert files_of(tmp_path / "packed") == files_of(tmp_path / "whole")
    assert pack(store, tmp_path / "packed", megabytes=SMALL).kept == 5
    with store.writer("e") as writer:  # other values, the same sizes: only its sidecar tells
        writer.append(VIDEOS["e"] + 1)
        writer.commit({"duration_seconds": 1.0, "source": {"name": "e"}})
    assert pack(store, tmp_path / "packed", megabytes=SMALL).made == 1
    pack(store, tmp_path / "packed", megabytes=512)
    assert len(list((tmp_path / "packed" / "shards").iterdir())) == 1
    unpack(tmp_path / "packed", tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(store.path)


def test_an_interrupted_unpack_goes_on(store, tmp_path):
    pack(store, tmp_path / "packed", megabytes=SMALL)
    steps = []

    def stop(done, text):
        steps.append(done)
        if len(steps) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(tmp_path / "packed", tmp_path / "again", report=stop)
    assert (tmp_path / "again" / "store.json").is_file()
    assert unpack(tmp_path / "packed", tmp_path / "again") == 15 - 4
    assert files_of(tmp_path / "again") == files_of(store.path)


@pytest.mark.parametrize(
    "name",
    ["../evil.json", "/etc/evil", "features/../../evil.npy", "features/a/b.npy", "features/..json", ".hidden",
     "features/a.exe", "other/a.json", "features/%2e%2e.npy", "logs/../evil.jsonl", "", "failures/a.npy", "a\n.json"],
)  # fmt: skip
def test_an_index_that_names_what_no_store_has_is_refused_before_anything_is_written(store, tmp_path, name):
    pack(store, tmp_path / "packed")
    index = json.loads((tmp_path / "packed" / "index.json").read_text())
    index["files"][name] = index["files"]["store.json"]
    write_json(tmp_path / "packed" / "index.json", index)
    with pytest.raises(PipelineError, match="no file of a store"):
        unpack(tmp_path / "packed", tmp_path / "deep" / "again")
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize("place", [[0, 0], [0, -1, 5, ""], ["0", 0, 5, ""], [0, 0, 5, None], 7, [0, True, 5, ""]])
def test_an_index_that_is_malformed_is_refused(store, tmp_path, place):
    pack(store, tmp_path / "packed")
    index = json.loads((tmp_path / "packed" / "index.json").read_text())
    index["files"]["features/e.npy"] = place
    write_json(tmp_path / "packed" / "index.json", index)
    with pytest.raises(PipelineError, match=r"must have \[shard, offset, bytes, SHA-256\]"):
        unpack(tmp_path / "packed", tmp_path / "again")


def test_a_damaged_shard_is_named_and_nothing_of_the_damage_is_kept(store, tmp_path):
    pack(store, tmp_path / "packed")
    shard = tmp_path / "packed" / "shards" / "000000.tar"
    _, offset, size, _ = json.loads((tmp_path / "packed" / "index.json").read_text())["files"]["features/e.npy"]
    data = bytearray(shard.read_bytes())
    data[offset + size - 1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(PipelineError, match=r"000000\.tar is damaged at byte \d+: features/e\.npy"):
        unpack(tmp_path / "packed", tmp_path / "again")
    assert not list((tmp_path / "again").rglob("*e.npy*"))


def test_what_does_not_fit_is_not_packed(store, tmp_path):
    with pytest.raises(PipelineError, match="holds other files"):
        pack(store, store.path.parent)
    with pytest.raises(PipelineError, match="another folder than the store"):
        pack(store, store.path)
    data = store.array_path("e").read_bytes()
    store.array_path("e").write_bytes(data[:-1] + b"\x01")
    with pytest.raises(PipelineError, match="not the array that its sidecar describes"):
        pack(store, tmp_path / "packed")
    store.sidecar_path("e").unlink()
    with pytest.raises(PipelineError, match=r"without a sidecar \(e\.npy\)"):
        pack(store, tmp_path / "packed")


def test_remote_stores_are_packed_unpacked_and_merged(bucket, store, tmp_path):
    pack(store, bucket / "packed", megabytes=SMALL)
    unpack(remote("memory://bucket/packed"), remote("memory://bucket/again"))
    assert files_of(bucket / "again") == files_of(store.path)
    pack(FeatureStore.open(remote("memory://bucket/again")), tmp_path / "packed", megabytes=SMALL)
    assert files_of(bucket / "packed") == files_of(tmp_path / "packed")
    other = make_store(tmp_path / "other", {"f": VIDEOS["e"]})
    merge([FeatureStore.open(remote("memory://bucket/again")), other], remote("memory://bucket/merged"))
    merged = FeatureStore.open(remote("memory://bucket/merged"))
    assert merged.ids() == sorted([*VIDEOS, "f"])
    assert verify_store(merged, deep=True) == []


def test_the_commands_say_what_they_did(store, tmp_path, command):
    code, out, _ = command("store", "ls", store.path)
    assert (code, out.splitlines()[-1]) == (0, "e\t104\t52.00\tfloat32")
    code, out, _ = command("store", "ls", store.path, "--json")
    assert json.loads(out)[1] == {"id": "a", "rows": 100, "seconds": 50.0, "dtype": "float32"}
    code, out, _ = command("store", "stats", store.path)
    assert [line.split() for line in out.splitlines()] == [
        ["videos", "5"], ["hours", "0.07"], ["rows", "510"], ["GB", "0.000"], ["failures", "timeout", "1"],
    ]  # fmt: skip
    code, out, _ = command("store", "stats", store.path, "--json")
    assert json.loads(out)["failures"] == {"timeout": 1}
    code, out, _ = command("store", "pack", store.path, "--out", tmp_path / "packed", "--megabytes", SMALL)
    assert (code, "15 files" in out, "5 shards (0 were there)" in out) == (0, True, True)
    code, out, _ = command("store", "unpack", tmp_path / "packed", "--out", tmp_path / "again")
    assert (code, "15 files written; 5 sequences" in out) == (0, True)
    code, out, _ = command("store", "merge", store.path, tmp_path / "again", "--out", tmp_path / "merged")
    assert (code, "5 sequences copied" in out) == (0, True)
    code, _, err = command("store", "unpack", store.path, "--out", tmp_path / "x")
    assert (code, err.count("\n"), "is not a packed store" in err) == (2, 1, True)
    code, _, err = command("store", "stats", store.path, "--cache-gigabytes", "0")
    assert (code, "--cache-gigabytes" in err) == (2, True)


def left_by_a_killed_process(folder, name, monkeypatch):
    """Make a temporary file in `folder` that belongs to a process that has ended."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", dead_process)
        partial = folder / partial_name(name)
    folder.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(b"half")


def test_what_a_killed_pack_or_unpack_has_left_does_not_stop_the_next_and_is_removed(store, tmp_path, monkeypatch):
    pack(store, tmp_path / "whole", megabytes=SMALL)
    left_by_a_killed_process(tmp_path / "packed", "index.json", monkeypatch)
    left_by_a_killed_process(tmp_path / "packed" / "shards", "000001.tar", monkeypatch)
    pack(store, tmp_path / "packed", megabytes=SMALL)
    assert files_of(tmp_path / "packed") == files_of(tmp_path / "whole")
    for folder in ("features", "failures", "logs"):
        left_by_a_killed_process(tmp_path / "again" / folder, "a.json", monkeypatch)
    unpack(tmp_path / "packed", tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(store.path)


def test_a_pack_that_goes_on_after_a_change_keeps_the_shards_that_have_not_changed(store, tmp_path, monkeypatch):
    pack(store, tmp_path / "packed", megabytes=SMALL)
    with store.writer("e") as writer:
        writer.append(VIDEOS["e"] + 1)
        writer.commit({"duration_seconds": 1.0, "source": {"name": "e"}})

    def interrupted(**_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(packing.tarfile, "open", interrupted)
        pack(store, tmp_path / "packed", megabytes=SMALL)
    assert not (tmp_path / "packed" / "index.json").exists()
    summary = pack(store, tmp_path / "packed", megabytes=SMALL)
    assert (summary.made, summary.kept) == (1, 4)


def test_packing_and_merging_again_write_nothing(store, tmp_path):
    other = make_store(tmp_path / "other", {"f": VIDEOS["e"]})

    def twice(work, out):
        work()
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
        work()
        assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before

    twice(lambda: pack(store, tmp_path / "packed", megabytes=SMALL), tmp_path / "packed")
    twice(lambda: merge([store, other], tmp_path / "merged"), tmp_path / "merged")


def test_ranges_of_unfinished_videos_are_neither_packed_nor_merged(store, tmp_path):
    (store.path / "parts" / "long").mkdir(parents=True)
    (store.path / "parts" / "long" / "0-9.npy").write_bytes(b"rows")
    pack(store, tmp_path / "packed", megabytes=SMALL)
    assert unpack(tmp_path / "packed", tmp_path / "again") == 15
    merge([store, FeatureStore.open(tmp_path / "again")], tmp_path / "merged")
    assert not (tmp_path / "merged" / "parts").exists()
    (store.path / "plots").mkdir()
    with pytest.raises(PipelineError, match="plots is no folder of a store"):
        pack(store, tmp_path / "packed", megabytes=SMALL)


def test_a_packed_store_given_to_a_command_is_named_as_such(store, tmp_path, command):
    packed = tmp_path / "packed"
    pack(store, packed)
    says = f"error: {packed} is a packed store; unpack it first: `store unpack {packed} --out FOLDER`\n"
    for words in (["sola", packed, "--out", tmp_path / "x"], ["verify", packed], ["store", "stats", packed]):
        assert command(*words) == (2, "", says)
    with pytest.raises(PipelineError, match="is a packed store"):
        FeatureStore.create(packed, store.spec)
