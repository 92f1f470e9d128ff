"""Object storage in memory, with its requests counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.storage.location import AnyPath, RemotePath, location

_REQUESTS = ("ls", "find", "info", "cat_file", "cat_ranges", "get_file", "put_file", "rm_file", "open")


@pytest.fixture
def bucket(tmp_path, monkeypatch) -> Iterator[RemotePath]:
    """An empty folder of memory://, and a cache of its own."""
    memory = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem
    monkeypatch.setenv("SOLA_CACHE_FOLDER", str(tmp_path / "cache"))
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    yield remote("memory://bucket")
    memory.store.clear()


@pytest.fixture
def requests(bucket, monkeypatch) -> Counter[str]:
    """How often each kind of request was made."""
    memory = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem
    counts: Counter[str] = Counter()
    inside = []

    def counted(name: str, plain):
        def call(self, *args, **kwargs):
            if not inside:  # what a request is made of does not count again
                counts[name] += 1
            inside.append(name)
            try:
                return plain(self, *args, **kwargs)
            finally:
                inside.pop()

        return call

    for name in _REQUESTS:
        monkeypatch.setattr(memory, name, counted(name, getattr(memory, name)))
    return counts


def remote(url: str) -> RemotePath:
    """A remote path that knows nothing of what was listed before."""
    path = location(url)
    assert isinstance(path, RemotePath)
    return path


def put(source: Path, target: RemotePath) -> RemotePath:
    """Uploads a file, or all files below a folder."""
    for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
        if file.is_file():
            name = file.relative_to(source).as_posix()
            (target / name if source.is_dir() else target).upload(file)
    return target


def files_of(folder: AnyPath) -> dict[str, bytes]:
    """The content of all files below a folder, hidden ones too, by their path below it."""
    if isinstance(folder, RemotePath):
        return {path.below(folder): path.read_bytes() for path in remote(folder.url).find()}
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
