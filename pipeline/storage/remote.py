"""Object storage through fsspec: kept listings, small objects read ahead, errors in one form.

fsspec and the package for a scheme are imported at the first request.
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
from pipeline.storage.read_ahead import ReadAhead

# Each scheme, and the extra of this project that installs its package. memory:// is fsspec's own, for trials.
SCHEMES = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "memory": "s3"}
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Entry:
    """An object as a listing describes it.

    Args:
        st_size: bytes.
        etag: changes with the content.
        folder: whether it is a folder of objects.
    """

    st_size: int
    etag: str
    folder: bool = False


class Remote:
    """The objects of one scheme, and their listings."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        self._opened: Any = None
        self._listings: dict[str, dict[str, Entry]] = {}  # by the folder's URL, by name
        self._ahead: dict[str, ReadAhead] = {}  # by the folder's URL
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
        """Note in the listings that an object exists, or that it does not (None)."""
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
            if self._url(info["name"]) == f"{folder}/{name}":  # else it is the folder's marker, or is the object itself
                found[name] = _entry(info)
        self._listings[folder] = dict(sorted(found.items()))
        self._ahead.pop(folder, None)

    def find(self, folder: str) -> list[str]:
        """Return all objects below a folder, and list all folders on the way."""
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
        self._ahead[folder] = ReadAhead(names)

    def read(self, url: str) -> bytes:
        folder, _, name = url.rpartition("/")
        if folder not in self._listings:
            with translate_errors(url):
                return cast(bytes, self._fs.cat_file(url))
        self.entry(url)
        with self._reading_ahead:
            return self._read_ahead(folder, name)

    def _read_ahead(self, folder: str, name: str) -> bytes:
        """Read an object of a listed folder, together with those that will probably be read next."""
        if folder not in self._ahead:
            # Without `prefetch`, sidecars are read in the order of their names.
            self._ahead[folder] = ReadAhead([name for name in self._listings[folder] if name.endswith(".json")])
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
        """Return the bytes of many objects, read in one batch; for each that failed, its error."""
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
                """Called after each block, the only place where a download can be aborted."""

                def relative_update(self, inc: int = 1) -> None:
                    if stop is not None and stop.is_set():
                        raise StorageError(f"{url}: download aborted")

            self._fs.get_file(url, str(target), callback=Watched())
        if target.stat().st_size != size:
            raise StorageError(
                f"{url} has changed since it was listed, or was not sent whole: {target.stat().st_size} bytes in place "
                f"of {size}; run the same command again"
            )

    def upload(self, source: Path, url: str) -> None:
        with translate_errors(url):
            self._fs.put_file(str(source), url)
        self._note(url, Entry(source.stat().st_size, ""))  # the version is looked up when it is needed

    def upload_new(self, source: Path, url: str) -> bool:
        try:
            with translate_errors(url):
                self._fs.put_file(str(source), url, mode="create")
        except (OSError, StorageError):  # each package reports an existing object in its own way
            if self.refresh(url):
                return False
            self.upload(source, url)  # the storage has no conditional upload; on another error this raises it
        self.refresh(url)
        return True

    def remove(self, url: str, *, missing_ok: bool) -> None:
        try:
            self.entry(url)  # object storage does not report that an object is absent
            with translate_errors(url):
                self._fs.rm_file(url)
        except FileNotFoundError:
            if not missing_ok:
                raise
        self._note(url, None)


def _filesystem(scheme: str) -> Any:
    try:
        import fsspec

        # `Remote` keeps the listings, so that it can note its writes in them.
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        raise PipelineError(
            f'{scheme}:// needs a package that is missing ({error}): pip install "sola-pipeline[{SCHEMES[scheme]}]"'
        ) from None


def _entry(info: dict[str, Any]) -> Entry:
    version = next((info[name] for name in ("ETag", "etag", "md5Hash", "created") if info.get(name)), "")
    if isinstance(version, datetime):  # listings of memory:// give this time as a number
        version = version.timestamp()
    return Entry(int(info.get("size") or 0), str(version).strip('"'), folder=info.get("type") == "directory")


@contextmanager
def translate_errors(url: str) -> Iterator[None]:
    """Turn the errors of fsspec's packages into one of three.

    Raises:
        FileNotFoundError: there is no such object.
        OSError: the local disk is full.
        StorageError: anything else: no credentials, no permission, no answer.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such object", url) from error
    except SolaPipelineError:
        raise
    except Exception as error:  # each package has its own errors, many of them no OSError
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        words = f"{type(error).__name__}: {error}"
        remedy = ""
        if "credential" in words.lower():
            remedy = "; set them in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, a role)"
        elif isinstance(error, PermissionError):
            remedy = "; the credentials in the environment do not allow it"
        raise StorageError(f"{url}: {words}{remedy}") from error
