"""A file of annotations, opened by what it holds: JSON, XML or text, whatever its suffix."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from pipeline.errors import PipelineError
from pipeline.storage.read_files import read_json, read_text, refuse_special
from pipeline.storage.read_xml import xml_children

_ARCHIVED = "annotations.xml"  # the file in a dump of CVAT
_MOST_ARCHIVED_BYTES = 1 << 30
_HEAD_BYTES = 1 << 12
_XML_HEADS = (b"<", b"\xff\xfe<", b"\xfe\xff\x00<", b"PK\x03\x04")  # the last: an archive


@dataclass(frozen=True)
class Content:
    """What a file holds; one of `json`, `xml` and `lines` is given.

    Args:
        path: the file.
        json: a JSON value; None if it is no JSON.
        xml: the name of the root element; empty if it is no XML.
        lines: of a text file.
    """

    path: Path
    json: Any = None
    xml: str = ""
    lines: list[str] = field(default_factory=list)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the XML: the file, or the one inside the archive."""
        if not zipfile.is_zipfile(self.path):
            with self.path.open("rb") as file:
                yield file
            return
        try:
            with zipfile.ZipFile(self.path) as archive:
                member = archive.getinfo(_ARCHIVED)
                if member.file_size > _MOST_ARCHIVED_BYTES:
                    raise PipelineError(
                        f"annotations: {_ARCHIVED} in {self.path} has {member.file_size} bytes, accepted are at most "
                        f"{_MOST_ARCHIVED_BYTES}; unpack it, and give the file"
                    )
                with archive.open(member) as inner:  # it gives no more bytes than the archive says
                    yield cast("BinaryIO", inner)
        except KeyError:
            raise PipelineError(f"annotations: {self.path} is an archive without {_ARCHIVED}") from None
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, zlib.error) as error:
            raise PipelineError(f"annotations: cannot read {self.path}: {error}") from None


def open_content(path: Path) -> Content:
    """Return what a file holds.

    Raises:
        PipelineError: the file is absent, unreadable, or looks like JSON or XML and is not.
    """
    refuse_special(path, what="annotations")
    head = _head(path)
    if path.suffix.lower() in (".json", ".boris") or head.startswith((b"{", b"[")):
        return Content(path, json=read_json(path, what="annotations"))
    if head.startswith(_XML_HEADS):
        return Content(path, xml=_root_of(Content(path)))
    return Content(path, lines=read_text(path, what="annotations").splitlines())


def _head(path: Path) -> bytes:
    """Return the first bytes of a file, without a byte order mark and blanks at the start."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    except FileNotFoundError:
        raise PipelineError(f"annotations: no file {path}") from None
    except OSError as error:
        raise PipelineError(f"annotations: cannot read {path}: {error}") from None


def _root_of(content: Content) -> str:
    with content.open() as file:
        return next(xml_children(file, where=f"annotations: {content.path}")).name
