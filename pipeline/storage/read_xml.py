"""Read XML that strangers wrote, piece by piece: no document type, no entities, a limited depth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO
from xml.parsers import expat

from pipeline.errors import PipelineError

_BLOCK_BYTES = 1 << 16
_DEEPEST = 64  # elements inside one another; files of annotation tools have less than ten


@dataclass
class Element:
    """An XML element.

    Args:
        name: with its prefix, if it has one.
        attributes: by name.
        line: of its start in the file.
        children: in the file's order.
        text: the characters directly in it, without blanks at both ends.
    """

    name: str
    attributes: dict[str, str]
    line: int
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, name: str) -> list[Element]:
        """Return the children of this name."""
        return [child for child in self.children if child.name == name]

    def child_text(self, *path: str) -> str:
        """Return the text of the first element below at this path; empty if there is none."""
        found = self
        for name in path:
            below = found.all(name)
            if not below:
                return ""
            found = below[0]
        return found.text


def xml_children(file: BinaryIO, *, where: str) -> Iterator[Element]:
    """Yield the root without its children, then each child of the root when it is whole.

    Args:
        file: the content; read to its end.
        where: names the file in messages.

    Raises:
        PipelineError: the content is not XML, has a document type, or is nested too deep.
    """
    parser = expat.ParserCreate()
    tree = _Tree(parser)
    block = b"-"
    while block:
        block = file.read(_BLOCK_BYTES)
        try:
            parser.Parse(block, not block)
        except expat.ExpatError as error:
            raise PipelineError(f"{where} is not XML: line {error.lineno}, {expat.ErrorString(error.code)}") from None
        except (_RefusedError, ValueError, LookupError) as error:  # the latter two: an unknown encoding
            raise PipelineError(f"{where} is XML that is not read: line {parser.CurrentLineNumber}, {error}") from None
        yield from tree.take()


class _RefusedError(Exception):
    """What the file has that is refused."""


class _Tree:
    """Builds elements from the parser's events."""

    def __init__(self, parser: expat.XMLParserType) -> None:
        self._parser = parser
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._done: list[Element] = []
        parser.StartDoctypeDeclHandler = _refuse_document_type
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.buffer_text = True

    def take(self) -> list[Element]:
        done, self._done = self._done, []
        return done

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= _DEEPEST:
            raise _RefusedError(f"elements stand more than {_DEEPEST} deep in one another")
        element = Element(name, attributes, self._parser.CurrentLineNumber)
        if len(self._open) > 1:
            self._open[-1].children.append(element)
        elif not self._open:
            self._done.append(element)
        self._open.append(element)
        self._texts.append([])

    def _end(self, name: str) -> None:
        element = self._open.pop()
        element.text = "".join(self._texts.pop()).strip()
        if len(self._open) == 1:
            self._done.append(element)

    def _characters(self, text: str) -> None:
        self._texts[-1].append(text)


def _refuse_document_type(name: str, system_id: str | None, public_id: str | None, has_internal: bool) -> None:
    raise _RefusedError("it has a document type (<!DOCTYPE …>), which may define entities; remove it")


# Characters that XML 1.0 does not have; a name or a label from a file may hold them.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: object) -> str:
    """Return the text without characters that XML does not have; they become question marks."""
    return _NOT_XML.sub("?", str(text))
