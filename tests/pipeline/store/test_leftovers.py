"""A store between processes: what killed ones leave, and what several do at once."""

import errno
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from pipeline.errors import PipelineError
from pipeline.storage.atomic_files import partial_path, write_json
from pipeline.storage.temporary_names import partial_name
from pipeline.store import feature_store as store_module
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.verify import verify_store
from tests.pipeline.store.test_feature_store import ROWS, SPEC, write
from tests.remote import remote


@pytest.fixture
def store(tmp_path):
    return FeatureStore.create(tmp_path / "store", SPEC)


def test_a_leftover_of_a_killed_writer_is_found_and_that_of_a_living_one_left_alone(store, monkeypatch):
    writer = store.writer("a")
    writer.append(ROWS)
    assert verify_store(store) == []  # this process lives
    monkeypatch.setattr("os.getpid", lambda: 2**22 + 1)  # no process has this number
    store.writer("b").append(ROWS)
    assert [(p.kind, ".b.npy" in p.id) for p in verify_store(store)] == [("leftover", True)]


def dead_process() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_leftovers_of_killed_processes_are_removed_when_a_stage_starts(store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", dead_process)
        leftovers = [partial_path(store.array_path("a")), partial_path(store.failure_path("a"))]
    for path in leftovers:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    FeatureStore.create(store.path, SPEC)
    assert [path.exists() for path in leftovers] == [False, False]


def test_temporary_files_of_others_stay_unless_they_have_lain_for_a_week(store, monkeypatch):
    mine = partial_path(store.array_path("a"))
    with monkeypatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "elsewhere")
        patch.setattr(os, "getpid", dead_process)  # whether it lives there cannot be known here
        theirs, old = partial_path(store.array_path("a")), partial_path(store.array_path("a"))
    for path in (mine, theirs, old):
        path.write_bytes(b"half")
    eight_days_ago = time.time() - 8 * 24 * 3600
    os.utime(old, (eight_days_ago, eight_days_ago))
    FeatureStore.create(store.path, SPEC)
    assert [path.exists() for path in (mine, theirs, old)] == [True, True, False]


def test_longest_id_and_host_name_make_a_temporary_name_that_file_systems_take(store, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 64)
    write(store, "x" * 200)
    assert store.ids() == ["x" * 200]


def test_a_store_that_another_process_makes_at_the_same_moment_is_no_foreign_folder(store, monkeypatch):
    looks = iter([False])  # the first look is a moment too early
    monkeypatch.setattr(type(store.path), "exists", lambda path: next(looks, True))
    assert FeatureStore.create(store.path, SPEC).spec == SPEC


def test_writing_an_equal_array_again_leaves_no_moment_without_a_sidecar(store, monkeypatch):
    write(store)

    def fail(*_):
        raise OSError(errno.EIO, "injected")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="injected"):
        patch.setattr(os, "replace", fail)
        write(store)
    assert store.ids() == ["a"]
    assert verify_store(store, deep=True) == []
    with monkeypatch.context() as patch, pytest.raises(OSError, match="injected"):
        patch.setattr(os, "replace", fail)
        write(store, rows=ROWS + 1)
    assert store.ids() == []


def test_discarding_on_a_full_disk_leaves_nothing(store):
    writer = store.writer("a")
    writer.append(ROWS)

    class Full:
        def close(self):
            raise OSError(errno.ENOSPC, "injected")

    writer._file.close()
    writer._file = Full()
    writer.discard()
    assert list((store.path / "features").iterdir()) == []


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_store_that_is_made_meanwhile_with_other_settings_is_refused(tmp_path, bucket, monkeypatch, is_remote):
    def place():
        return remote("memory://bucket/store") if is_remote else tmp_path / "store"

    other = replace(SPEC, precision="bf16")
    plain = store_module.write_new_json

    def meanwhile(path, value):
        with monkeypatch.context() as patch:
            patch.setattr(store_module, "write_new_json", plain)
            FeatureStore.create(place(), other)
        plain(path, value)

    with monkeypatch.context() as patch, pytest.raises(PipelineError, match="precision: 'bf16' here, 'fp32' there"):
        patch.setattr(store_module, "write_new_json", meanwhile)
        FeatureStore.create(place(), SPEC)
    assert FeatureStore.open(place()).spec == other
    assert list(tmp_path.rglob("*.partial")) == []


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_of_processes_that_make_one_store_at_once_with_other_settings_one_succeeds(tmp_path):
    for number in range(20):
        path = tmp_path / f"{number}"
        pids = []
        for precision in ("fp32", "bf16", "fp16"):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    write(FeatureStore.create(path, replace(SPEC, precision=precision)), precision)
                    code = 0
                finally:
                    os._exit(code)
            pids.append(pid)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        store = FeatureStore.open(path)
        assert sorted(codes) == [0, 1, 1]
        assert store.ids() == [store.spec.precision]
        assert verify_store(store) == []


def test_a_store_is_made_where_a_file_system_has_no_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "injected")

    monkeypatch.setattr(os, "link", refuse)
    write(FeatureStore.create(tmp_path / "store", SPEC))
    assert verify_store(FeatureStore.open(tmp_path / "store")) == []
    with pytest.raises(PipelineError, match="precision"):
        FeatureStore.create(tmp_path / "store", replace(SPEC, precision="bf16"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
def test_a_process_that_was_killed_and_not_asked_for_its_end_has_ended(store, monkeypatch):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: child.pid)
        left = partial_path(store.array_path("a"))
    left.write_bytes(b"half")
    FeatureStore.create(store.path, SPEC)
    assert left.exists()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and keeps its number
    FeatureStore.create(store.path, SPEC)
    assert not left.exists()
    child.wait()


def test_leftovers_beside_a_file_that_is_written_are_removed_folders_too(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", dead_process)
        file, folder = (tmp_path / partial_name(name) for name in ("a.json", "export"))
    file.write_bytes(b"half")
    (folder / "features").mkdir(parents=True)
    mine = tmp_path / partial_name("mine")
    mine.write_bytes(b"half")
    write_json(tmp_path / "b.json", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [mine.name, "b.json"]
