"""A place that a user names: a local path, or an object or folder in object storage."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

from pipeline.errors import PipelineError
from pipeline.storage.remote import SCHEMES, Entry, Remote

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


class RemotePath:
    """An object, or a folder of objects, with as much of `pathlib.Path` as stores need.

    It is immutable. Paths made from one another share the listings of their folders.

    Args:
        url: such as `s3://bucket/key`; keys are not percent-encoded.
        remote: the listings of the path that this one is made from.

    Raises:
        PipelineError: the URL holds credentials.
    """

    __slots__ = ("remote", "url")

    def __init__(self, url: str, remote: Remote | None = None) -> None:
        scheme, _, rest = url.partition("://")
        if "@" in rest.partition("/")[0]:
            raise PipelineError(
                f"a {scheme}:// URL must not hold credentials (it would stand in stores and logs); set them in the "
                "environment instead, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            )
        self.url = url.rstrip("/")
        self.remote = remote or Remote(scheme)

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"RemotePath({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __lt__(self, other: RemotePath) -> bool:
        return self.url < other.url

    def __deepcopy__(self, _: object) -> RemotePath:  # records of the settings copy it
        return self

    def __reduce__(self) -> tuple[type[RemotePath], tuple[str]]:  # for other processes, which make their own listings
        return RemotePath, (self.url,)

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url}/{name}", self.remote)

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def parent(self) -> RemotePath:
        return RemotePath(self.url.rpartition("/")[0], self.remote)

    def with_name(self, name: str) -> RemotePath:
        return self.parent / name

    def with_suffix(self, suffix: str) -> RemotePath:
        return self.parent / Path(self.name).with_suffix(suffix).name

    def resolve(self) -> RemotePath:
        return self

    def absolute(self) -> RemotePath:
        return self

    def below(self, folder: RemotePath) -> str:
        """Return the part of the key that follows `folder`."""
        return self.url.removeprefix(f"{folder.url}/")

    def stat(self) -> Entry:
        """Return size and version; no request is made if the folder was listed.

        Raises:
            FileNotFoundError: there is no such object.
        """
        return self.remote.entry(self.url)

    def refresh(self) -> bool:
        """Look the object up again and update the listing; return whether it exists."""
        return self.remote.refresh(self.url)

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        try:
            return not self.stat().folder
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        """Whether there is anything below; object storage has no other sign of a folder."""
        return bool(self.remote.listing(self.url))

    def iterdir(self) -> Iterator[RemotePath]:
        """Return the objects and folders in this folder, from its listing."""
        return (self / name for name in list(self.remote.listing(self.url)))

    def list_anew(self) -> None:
        """List the folder again."""
        self.remote.list_anew(self.url)

    def find(self) -> list[RemotePath]:
        """Return all objects below this folder, sorted, and list them with their sizes."""
        return [RemotePath(url, self.remote) for url in self.remote.find(self.url)]

    def prefetch(self, names: list[str]) -> None:
        """Read these small objects of the folder ahead, in this order."""
        self.remote.prefetch(self.url, names)

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: folders of object storage come and go with their objects."""

    def read_bytes(self) -> bytes:
        return self.remote.read(self.url)

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def read_ranges(self, ranges: list[tuple[str, int, int]]) -> list[bytes]:
        """Return bytes [start, stop) of objects of this folder, given as (name, start, stop), in one batch."""
        return self.remote.read_ranges([(f"{self.url}/{name}", start, stop) for name, start, stop in ranges])

    def open(self, mode: str = "rb") -> BufferedIOBase:
        """Open the object as a stream, read in blocks."""
        if mode != "rb":
            raise ValueError(f"mode must be 'rb', got {mode!r}: an object is written whole, by upload")
        return self.remote.open(self.url)

    def download(self, target: Path, *, stop: threading.Event | None = None) -> None:
        """Copy the object to the file `target`.

        Args:
            stop: setting it aborts the download.

        Raises:
            OSError: the disk is full, or there is no such object.
            StorageError: the object storage refused, or sent another number of bytes.
        """
        self.remote.download(self.url, target, stop)

    def upload(self, source: Path) -> None:
        """Upload the file `source` as this object, in one step."""
        self.remote.upload(source, self.url)

    def upload_new(self, source: Path) -> bool:
        """Upload the file `source` unless the object exists, as far as the storage allows; return whether it did."""
        return self.remote.upload_new(source, self.url)

    def unlink(self, missing_ok: bool = False) -> None:
        self.remote.remove(self.url, missing_ok=missing_ok)


AnyPath = Path | RemotePath


def location(text: str | AnyPath) -> AnyPath:
    """Return the place that `text` names: a URL of object storage, `file:///…`, or a local path.

    Raises:
        PipelineError: an unknown scheme, no bucket, or credentials in the URL.
    """
    if not isinstance(text, str):
        return text
    match = _URL.fullmatch(text)
    if match is None:
        return Path(text)
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        return Path(rest)
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in ("file", *SCHEMES) if name != "memory")
        raise PipelineError(f"a URL must begin with one of {known}, got {scheme}://")
    if not rest.strip("/"):
        raise PipelineError(f"a URL must name a bucket, as in {scheme}://bucket/folder, got {text}")
    return RemotePath(f"{scheme}://{rest}")


def real_path(path: AnyPath) -> str:
    """Return the path without links, or the URL; a link that leads in a circle stays."""
    return os.path.realpath(path) if isinstance(path, Path) else str(path.resolve())


def local_only(text: str) -> Path:
    """Return the local path that `text` names.

    Raises:
        PipelineError: it names a place in object storage, or `location` refuses it.
    """
    path = location(text)
    if isinstance(path, RemotePath):
        raise PipelineError(f"this command works on local paths only, got {path}: give a copy of it")
    return path


def is_remote(path: Any) -> bool:
    """Whether a path lies in object storage."""
    return isinstance(path, RemotePath)


def local(path: AnyPath) -> Path:
    """Return `path`, which the caller knows to be local."""
    return cast(Path, path)
