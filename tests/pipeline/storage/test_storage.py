"""Object storage: names, listings, reads, copies and the cache; which requests are made, and how many."""

import copy
import errno
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.errors import PipelineError, StorageError
from pipeline.storage import local
from pipeline.storage.location import RemotePath, location
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.verify import repair, verify_store
from pipeline.video.process import _without_secrets
from tests.remote import files_of, put, remote
from tests.stores import make_store

VIDEOS = {f"v{number:03}": np.full((3, 4), number, dtype=np.float32) for number in range(300)}


@pytest.mark.parametrize(
    ("text", "path"),
    [("a/b", "a/b"), ("/a//b/", "/a/b"), ("file:///a/b", "/a/b"), ("C:\\videos", "C:\\videos"), ("a:b", "a:b")],
)
def test_local_places_are_paths(text, path):
    assert location(text) == Path(path)


def test_a_url_keeps_its_slashes_and_has_the_parts_of_a_path():
    path = location("s3://bucket/a b%20c/v.1.npy")
    assert (str(path), path.name, path.stem, path.suffix) == ("s3://bucket/a b%20c/v.1.npy", "v.1.npy", "v.1", ".npy")
    assert str(path.parent / "x") == "s3://bucket/a b%20c/x"
    assert str(path.with_suffix(".json")) == "s3://bucket/a b%20c/v.1.json"
    assert location("s3://bucket/a/") == location("s3://bucket/a")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://key:secret@bucket/a", "must not hold credentials"),
        ("s3://key@bucket/a", "must not hold credentials"),
        ("ftp://host/a", "must begin with one of file://, s3://, gs://"),
        ("s3://", "must name a bucket"),
    ],
)
def test_a_url_that_is_not_understood_is_refused(url, message):
    with pytest.raises(PipelineError, match=message):
        location(url)


def test_neither_help_nor_decoders_load_fsspec():
    code = "import sys, pipeline.cli, pipeline.video.worker, pipeline.video.process; print('fsspec' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_decoders_do_not_get_the_credentials_of_object_storage(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert not any(name.startswith("AWS_") for name in _without_secrets(os.environ))
    assert "PATH" in _without_secrets(os.environ)


def test_a_remote_path_goes_to_other_processes(bucket):
    (bucket / "a").iterdir()  # opens a connection; multiprocessing pickles the path all the same
    assert pickle.loads(pickle.dumps(bucket / "a")) == copy.deepcopy(bucket / "a") == bucket / "a"


def test_a_missing_package_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setitem(os.sys.modules, "fsspec", None)
    with pytest.raises(PipelineError, match=r'pip install "sola-pipeline\[gcs\]"'):
        remote("gs://bucket/a").exists()


def test_a_remote_store_holds_the_bytes_of_a_local_one(bucket, tmp_path):
    some = {name: VIDEOS[name] for name in list(VIDEOS)[::10]}
    here, there = make_store(tmp_path / "store", some), make_store(bucket / "store", some)
    assert files_of(there.path) == files_of(tmp_path / "store")
    opened = FeatureStore.open(remote("memory://bucket/store"))
    assert opened.fingerprint() == here.fingerprint()
    for ours, theirs in zip(here.sequences(), opened.sequences(), strict=True):
        assert (ours.id, ours.sidecar) == (theirs.id, theirs.sidecar)
        np.testing.assert_array_equal(ours.features, theirs.features)
    assert verify_store(opened, deep=True) == []
    assert not any((tmp_path / "cache" / "partial").iterdir())


def test_opening_a_store_takes_a_listing_and_its_sidecars_come_many_at_a_time(bucket, requests):
    make_store(bucket / "store", VIDEOS)
    requests.clear()
    store = FeatureStore.open(remote("memory://bucket/store"))
    assert len(store.ids()) == 300
    assert requests == {"ls": 3, "cat_ranges": 1}  # the folder, its features and failures; store.json
    store.fingerprint()
    # 1, 2, 4, … 128 sidecars at once: 9 requests for 300, each for objects that are asked for side by side.
    assert requests["cat_ranges"] <= 1 + 9
    assert set(requests) == {"ls", "cat_ranges"}
    assert store.sidecar("absent") is None
    assert store.failure("absent") is None
    assert set(requests) == {"ls", "cat_ranges"}


@pytest.mark.parametrize("order", [slice(100, None, 8), slice(None, None, -1)])
def test_sidecars_are_read_ahead_in_any_order_that_is_told(bucket, requests, order):
    make_store(bucket / "store", VIDEOS)
    store = FeatureStore.open(remote("memory://bucket/store"))
    ids = store.ids()[order]
    store.prefetch(["\0" * 300, *ids, "absent"])
    requests.clear()
    assert [store.require_sidecar(video_id)["id"] for video_id in ids] == ids
    assert requests["cat_ranges"] <= 9


def test_a_download_ends_when_it_is_told_to(bucket, tmp_path):
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    put(tmp_path / "file", bucket / "file")
    stop = threading.Event()
    (bucket / "file").download(tmp_path / "copy", stop=stop)
    stop.set()
    with pytest.raises(StorageError, match="download aborted"):
        (bucket / "file").download(tmp_path / "other", stop=stop)


def test_an_upload_that_fails_leaves_no_video_done_and_the_next_one_completes_it(bucket, monkeypatch):
    expected = files_of(make_store(bucket / "whole", {"a": VIDEOS["v001"]}).path)
    plain = RemotePath.upload
    for kind in ("a.npy", "a.json"):

        def fail(self, source, kind=kind):
            if self.name == kind:
                raise StorageError("no answer")
            plain(self, source)

        with monkeypatch.context() as patch, pytest.raises(StorageError):
            patch.setattr(RemotePath, "upload", fail)
            make_store(bucket / kind, {"a": VIDEOS["v001"]})
        assert FeatureStore.open(remote(f"memory://bucket/{kind}")).ids() == []
        assert list((local.cache_folder() / "partial").iterdir()) == []
        make_store(remote(f"memory://bucket/{kind}"), {"a": VIDEOS["v001"]})
        assert files_of(bucket / kind) == expected


def test_another_machines_sidecar_does_not_vouch_for_the_array_of_this_one(bucket, monkeypatch):
    ours = make_store(bucket / "store", {"b": VIDEOS["v000"]})
    theirs = make_store(remote("memory://bucket/store"), {"a": VIDEOS["v001"]})
    theirs.write_failure("c", kind="timeout", reason="made up", source={})
    plain = RemotePath.upload

    def fail(self, source):
        if self.name == "a.json":
            raise StorageError("no answer")
        plain(self, source)

    with monkeypatch.context() as patch, ours.writer("a") as writer, pytest.raises(StorageError):
        patch.setattr(RemotePath, "upload", fail)
        writer.append(VIDEOS["v002"])  # of the same size
        writer.commit({"duration_seconds": 1.5})
    assert FeatureStore.open(remote("memory://bucket/store")).ids() == ["b"]
    with ours.writer("c") as writer:
        writer.append(VIDEOS["v002"])
        writer.commit({"duration_seconds": 1.5})
    assert FeatureStore.open(remote("memory://bucket/store")).failed_ids() == []


def test_what_could_not_be_asked_is_not_taken_for_absent(bucket, monkeypatch):
    make_store(bucket / "store", VIDEOS)
    store = FeatureStore.open(remote("memory://bucket/store"))

    class NoCredentialsError(Exception):
        """Like botocore's error, which is no OSError."""

    def refuse(*_, **__):
        raise NoCredentialsError("Unable to locate credentials")

    monkeypatch.setattr(type(store.path.remote._fs), "cat_ranges", refuse)
    with pytest.raises(StorageError, match=r"locate credentials; set them in the environment \(AWS_"):
        store.sidecar("v001")


def test_verify_finds_damage_in_remote_objects_and_not_in_copies(bucket, tmp_path):
    store = make_store(bucket / "store", {name: VIDEOS[name] for name in ("v001", "v002", "v003")})
    store.read("v001")  # so that there is a good copy
    file = tmp_path / "file"
    data = bytearray(store.array_path("v001").read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    store.array_path("v001").upload(file)
    file.write_bytes(data[:-1])
    store.array_path("v002").upload(file)
    store.sidecar_path("v003").unlink()
    store = FeatureStore.open(remote("memory://bucket/store"))
    assert [(p.id, p.kind) for p in verify_store(store)] == [("v003", "torn"), ("v002", "torn")]
    problems = verify_store(store, deep=True)
    assert {(p.id, p.kind) for p in problems} >= {("v003", "torn"), ("v002", "torn"), ("v001", "hash")}
    with pytest.raises(PipelineError, match="not the array that its sidecar describes"):
        store.read("v001")
    assert repair(problems) == 5
    assert files_of(bucket / "store").keys() == {"store.json"}


def test_copies_stay_within_the_limit_and_the_longest_unused_makes_room(bucket, tmp_path, monkeypatch):
    size = 128 + 3 * 4 * 4
    monkeypatch.setenv("SOLA_CACHE_GIGABYTES", str(3 * size / 1e9))
    store = make_store(bucket / "store", VIDEOS)
    for name in ("v001", "v002", "v003", "v001", "v004"):
        held = store.read(name).features
        copy = local.cached(store.array_path(name))
        os.utime(copy, ns=(0, copy.stat().st_mtime_ns))
    kept = {bytes(np.load(path).tobytes()) for path in (tmp_path / "cache" / "files").iterdir()}
    assert kept == {VIDEOS[name].tobytes() for name in ("v001", "v003", "v004")}
    for path in (tmp_path / "cache" / "files").iterdir():
        path.unlink()
    np.testing.assert_array_equal(held, VIDEOS["v004"])  # what is mapped can be read to the end


def test_a_copy_of_an_object_that_was_replaced_is_not_used(bucket, tmp_path):
    store = make_store(bucket / "store", {"a": VIDEOS["v001"]})
    np.testing.assert_array_equal(store.read("a").features, VIDEOS["v001"])
    make_store(remote("memory://bucket/store"), {"a": VIDEOS["v002"]})
    store = FeatureStore.open(remote("memory://bucket/store"))
    np.testing.assert_array_equal(store.read("a").features, VIDEOS["v002"])


def test_a_full_disk_leaves_no_copy(bucket, monkeypatch):
    store = make_store(bucket / "store", {"a": VIDEOS["v001"]})

    def full(self, target, **options):
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RemotePath, "download", full)
    with pytest.raises(OSError, match="No space left"):
        store.read("a")
    assert [path for path in local.cache_folder().rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "much"])
def test_a_limit_that_is_none_is_refused(monkeypatch, value):
    monkeypatch.setenv("SOLA_CACHE_GIGABYTES", value)
    with pytest.raises(PipelineError, match="cache_gigabytes"):
        local.cache_bytes()


def test_names_with_signs_that_patterns_have_are_taken_as_they_are(bucket, tmp_path):
    names = ["a[1]*", "b?c", "ä % b", "..", "x#y"]
    store = make_store(bucket / "store", {name: VIDEOS["v001"] + place for place, name in enumerate(names)})
    opened = FeatureStore.open(put(tmp_path, remote(str(store.path))))
    assert opened.ids() == sorted(names)
    for place, name in enumerate(names):
        np.testing.assert_array_equal(opened.read(name).features, VIDEOS["v001"] + place)
    opened.array_path("b?c").unlink()
    assert opened.sidecar("b?c") is None
    assert FeatureStore.open(remote(str(store.path))).read("a[1]*").features[0, 0] == 1


@pytest.mark.parametrize(
    "words",
    [
        ["extract", "videos", "s3://key:secret@bucket/a", "--out", "features"],
        ["extract", "videos", "--out", "s3://key:secret@bucket/a"],
        ["linear-probe", "features", "--compare", "s3://key:secret@bucket/a", "--annotations", "a.json"],
        ["store", "merge", "s3://key:secret@bucket/a", "--out", "features"],
    ],
)
def test_no_command_takes_or_repeats_credentials_in_a_url(words, capsys):
    with pytest.raises(SystemExit) as exit:
        main(words)
    errors = capsys.readouterr().err
    assert exit.value.code == 2
    assert "must not hold credentials" in errors
    assert "secret" not in errors


@pytest.mark.parametrize("words", [["status", "s3://bucket/a"], ["plan", "s3://bucket/a"]])
def test_a_command_for_local_paths_does_not_take_a_url_for_one(words, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert "local paths only, got s3://bucket/a" in capsys.readouterr().err
