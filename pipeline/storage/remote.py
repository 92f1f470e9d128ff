"""Object storage through fsspec: listings that are kept, small objects read ahead, errors in one form.

fsspec and the package for a scheme are imported when the first object is asked for.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

from pipeline.errors import PipelineError, SolaPipelineError, StorageError

# The scheme, and the extra of this project that brings its package. memory:// is fsspec's own, for trials.
SCHEMES = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "memory": "s3"}
_MOST_AHEAD = 128  # small objects asked for at once
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Entry:
    """An object as listings describe it.

    Args:
        st_size: bytes.
        etag: changes with the content.
        folder: whether it is a folder of objects.
    """

    st_size: int
    etag: str
    folder: bool = False


class Remote:
    """The objects of one scheme, and what is known of them."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        self._opened: Any = None
        self._listings: dict[str, dict[str, Entry]] = {}  # by the folder's URL, by name
        self._ahead: dict[str, _Ahead] = {}  # by the folder's URL
        self._reading_ahead = threading.Lock()

    @property
    def _fs(self) -> Any:
        if self._opened is None:
            self._opened = _filesystem(self._scheme)
        return self._opened

    def entry(self, url: str) -> Entry:
        folder, _, name = url.rpartition("/")
        if folder not in self._listings:
            return self._ask(url)
        if name not in self._listings[folder]:
            raise FileNotFoundError(errno.ENOENT, "no such object", url)
        return self._listings[folder][name]

    def refresh(self, url: str) -> bool:
        try:
            self._note(url, self._ask(url))
        except FileNotFoundError:
            self._note(url, None)
            return False
        return True

    def _ask(self, url: str) -> Entry:
        with translate_errors(url):
            return _entry(self._fs.info(url))

    def _note(self, url: str, entry: Entry | None) -> None:
        """Notes an object, or that there is none."""
        folder, _, name = url.rpartition("/")
        if folder in self._ahead:
            self._ahead[folder].forget(name)
        if folder not in self._listings:
            return
        if entry is None:
            self._listings[folder].pop(name, None)
        else:
            self._listings[folder][name] = entry

    def listing(self, folder: str) -> dict[str, Entry]:
        if folder not in self._listings:
            self.list_anew(folder)
        return self._listings[folder]

    def list_anew(self, folder: str) -> None:
        found: dict[str, Entry] = {}
        try:
            with translate_errors(folder):
                infos = self._fs.ls(folder, detail=True)
        except FileNotFoundError:
            infos = []
        for info in infos:
            name = str(info["name"]).rstrip("/").rpartition("/")[2]
            if self._url(info["name"]) == f"{folder}/{name}":  # not the folder's own mark, nor itself if an object
                found[name] = _entry(info)
        self._listings[folder] = dict(sorted(found.items()))
        self._ahead.pop(folder, None)

    def find(self, folder: str) -> list[str]:
        """All objects below a folder; all folders on the way count as listed from then on."""
        with translate_errors(folder):
            infos = self._fs.find(folder, detail=True)
        urls = []
        listings: dict[str, dict[str, Entry]] = {folder: {}}
        for key, info in sorted(infos.items()):
            url = self._url(key)
            if not url.startswith(f"{folder}/") or str(key).endswith("/"):
                continue
            urls.append(url)
            entry, place = _entry(info), url
            while place != folder:
                place, _, name = place.rpartition("/")
                listings.setdefault(place, {}).setdefault(name, entry)
                entry = Entry(0, "", folder=True)
        self._listings.update(listings)
        return urls

    def _url(self, key: str) -> str:
        return f"{self._scheme}://{str(key).strip('/')}"

    def prefetch(self, folder: str, names: list[str]) -> None:
        self._ahead[folder] = _Ahead(names)

    def read(self, url: str) -> bytes:
        folder, _, name = url.rpartition("/")
        if folder not in self._listings:
            with translate_errors(url):
                return cast(bytes, self._fs.cat_file(url))
        self.entry(url)
        with self._reading_ahead:
            return self._read_ahead(folder, name)

    def _read_ahead(self, folder: str, name: str) -> bytes:
        """An object of a listed folder, and those that will probably be asked for next."""
        if folder not in self._ahead:
            # Unless told otherwise, sidecars are read in the order of their names.
            self._ahead[folder] = _Ahead([name for name in self._listings[folder] if name.endswith(".json")])
        ahead = self._ahead[folder]
        if (known := ahead.take(name)) is not None:
            return known
        listed = self._listings[folder]
        names = [name, *(other for other in ahead.following(name) if other in listed)]
        found = self._cat([(f"{folder}/{other}", 0, listed[other].st_size) for other in names])
        for other, data in zip(names[1:], found[1:], strict=True):
            if isinstance(data, bytes):
                ahead.keep(other, data)
        if not isinstance(found[0], bytes):
            with translate_errors(f"{folder}/{name}"):
                raise found[0]
        return found[0]

    def read_ranges(self, ranges: list[tuple[str, int, int]]) -> list[bytes]:
        found = self._cat(ranges)
        for (url, start, stop), data in zip(ranges, found, strict=True):
            with translate_errors(url):
                if not isinstance(data, bytes):
                    raise data
            if len(data) != stop - start:
                raise StorageError(f"{url}: asked for bytes {start} to {stop}, got {len(data)}; run `verify`")
        return cast(list[bytes], found)

    def _cat(self, ranges: list[tuple[str, int, int]]) -> list[bytes | Exception]:
        """Bytes of many objects at once, or why they could not be read."""
        asked = [(place, *part) for place, part in enumerate(ranges) if part[2] > part[1]]
        found: list[bytes | Exception] = [b""] * len(ranges)
        if asked:
            places, urls, starts, stops = (list(column) for column in zip(*asked, strict=True))
            with translate_errors(str(urls[0])):
                parts = self._fs.cat_ranges(urls, starts, stops, on_error="return")
            for place, data in zip(places, parts, strict=True):
                found[place] = data
        return found

    def open(self, url: str) -> BufferedIOBase:
        with translate_errors(url):
            return cast(BufferedIOBase, self._fs.open(url, "rb"))

    def download(self, url: str, target: Path, stop: threading.Event | None) -> None:
        size = self.entry(url).st_size
        with translate_errors(url):
            from fsspec.callbacks import Callback

            class Watched(Callback):
                """Told after each block, which is the one place where a download can be ended."""

                def relative_update(self, inc: int = 1) -> None:
                    if stop is not None and stop.is_set():
                        raise StorageError(f"{url}: given up")

            self._fs.get_file(url, str(target), callback=Watched())
        if target.stat().st_size != size:
            raise StorageError(
                f"{url} has changed since it was listed, or was not sent whole: {target.stat().st_size} bytes in the "
                f"place of {size}; run the same command again"
            )

    def upload(self, source: Path, url: str) -> None:
        with translate_errors(url):
            self._fs.put_file(str(source), url)
        self._note(url, Entry(source.stat().st_size, ""))  # the version is asked for when it is needed

    def upload_new(self, source: Path, url: str) -> bool:
        try:
            with translate_errors(url):
                self._fs.put_file(str(source), url, mode="create")
        except (OSError, StorageError):  # each package says in its own way that there is one
            if self.refresh(url):
                return False
            self.upload(source, url)  # a storage that knows no such upload; else this says what is wrong
        self.refresh(url)
        return True

    def remove(self, url: str, *, missing_ok: bool) -> None:
        try:
            self.entry(url)  # object storage does not complain of what is not there
            with translate_errors(url):
                self._fs.rm_file(url)
        except FileNotFoundError:
            if not missing_ok:
                raise
        self._note(url, None)


class _Ahead:
    """Small objects of a folder, read some at a time: the more, the longer they are asked for in order."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._place = {name: place for place, name in enumerate(names)}
        self._next = -1  # place after the last one that was asked for
        self._count = 1
        self._kept: dict[str, bytes] = {}

    def following(self, name: str) -> list[str]:
        """The names to read together with ``name``; none where reading does not go forward."""
        place = self._place.get(name)
        if place is None:
            return []
        in_order = self._next <= place <= self._next + self._count
        self._count = min(_MOST_AHEAD, 2 * self._count) if in_order else 1
        self._kept.clear()
        self._next = place + self._count
        return self._names[place + 1 : self._next]

    def keep(self, name: str, data: bytes) -> None:
        self._kept[name] = data

    def take(self, name: str) -> bytes | None:
        return self._kept.pop(name, None)

    def forget(self, name: str) -> None:
        self._kept.pop(name, None)


def _filesystem(scheme: str) -> Any:
    try:
        import fsspec

        # Listings are kept here, where what is written can be noted in them.
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        raise PipelineError(
            f'{scheme}:// needs a package that is missing ({error}): pip install "sola-pipeline[{SCHEMES[scheme]}]"'
        ) from None


def _entry(info: dict[str, Any]) -> Entry:
    version = next((info[name] for name in ("ETag", "etag", "md5Hash", "created") if info.get(name)), "")
    if isinstance(version, datetime):  # listings of memory:// give the same time as a number
        version = version.timestamp()
    return Entry(int(info.get("size") or 0), str(version).strip('"'), folder=info.get("type") == "directory")


@contextmanager
def translate_errors(url: str) -> Iterator[None]:
    """Gives what fsspec's packages raise one of three forms.

    Raises:
        FileNotFoundError: there is no such object.
        OSError: the local disk is full.
        StorageError: all else: no credentials, no permission, no answer.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such object", url) from error
    except SolaPipelineError:
        raise
    except Exception as error:  # each package has its own kinds, many of which are no OSError
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        words = f"{type(error).__name__}: {error}"
        remedy = ""
        if "credential" in words.lower():
            remedy = "; set them in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, a role)"
        elif isinstance(error, PermissionError):
            remedy = "; the credentials in the environment do not allow it"
        raise StorageError(f"{url}: {words}{remedy}") from error
