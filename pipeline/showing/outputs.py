"""The files that `show` writes, and the record of them: what is finished is kept, what others wrote is not touched.

The record is a hidden file in their folder, with a line for each file written: its name, its SHA-256, and the hash of
what it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.storage.atomic_files import publish, temporary_folder
from pipeline.storage.read_files import read_text, sha256_of_file
from pipeline.text.plain import counted

RECORD = ".show.jsonl"


class OccupiedError(PipelineError):
    """A file of this name is there, and `show` did not write it."""


class Outputs:
    """Files below one folder.

    Attributes:
        written, kept, replaced: numbers of files; those that were replaced count as written too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written = self.kept = self.replaced = 0
        self._records = dict(_records(folder / RECORD))
        self._by_stem = {(_stem(name), record["made_from"]): name for name, record in self._records.items()}

    def finished(self, stem: str, made_from: Any) -> dict[str, Any] | None:
        """Return what is known about a file, if it is there and made from the same; count it as kept.

        Args:
            stem: name of the file below the folder, without its suffix.
            made_from: JSON values that determine the content, and the suffix.
        """
        name = self._by_stem.get((stem, _identity(made_from)))
        if name is None or not self._is_ours(name):
            return None
        self.kept += 1
        return {"file": name, **self._records[name]["about"]}

    def publish(self, partial: Path, name: str, made_from: Any, about: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give a temporary file its name, and record it; return what is known about it.

        Args:
            about: JSON values to remember.

        Raises:
            OccupiedError: a file of this name is there, and `show` did not write it.
        """
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            self.refuse_foreign(name)
            target.unlink()  # before the record changes: a crash in between leaves no file that looks foreign
            self.replaced += 1
        record: dict[str, Any] = {
            "made_from": _identity(made_from),
            "sha256": sha256_of_file(partial),
            "about": about or {},
        }
        with (self.folder / RECORD).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"file": name, **record}) + "\n")
        self._records[name] = record
        self._by_stem[_stem(name), record["made_from"]] = name
        publish(partial, target)
        self.written += 1
        return {"file": name, **record["about"]}

    def write_text(self, name: str, text: str) -> None:
        """Write a file of text, unless it is there with the same content.

        Raises:
            OccupiedError: see `publish`.
        """
        made_from = [name, text]
        if self.finished(_stem(name), made_from) is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with temporary_folder(self.folder / "text") as folder:
                partial = folder / "text"
                partial.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
                self.publish(partial, name, made_from)

    def refuse_foreign(self, name: str) -> None:
        """Refuse to replace a file that `show` did not write, or that was changed since.

        Raises:
            OccupiedError: it is such a file.
        """
        if (self.folder / name).exists() and not self._is_ours(name):
            raise OccupiedError(
                f"{self.folder / name} exists, and `show` did not write it or it was changed since; remove it, or "
                "choose another --out"
            )

    def text(self) -> str:
        """Return what was done, in words."""
        replaced = f" ({self.replaced} in place of older ones)" if self.replaced else ""
        kept = f", {self.kept} {'was' if self.kept == 1 else 'were'} there already" if self.kept else ""
        return f"{counted(self.written, 'file')} written{replaced}{kept}"

    def _is_ours(self, name: str) -> bool:
        path = self.folder / name
        return name in self._records and path.is_file() and sha256_of_file(path) == self._records[name]["sha256"]


def _records(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the records of a folder; skip what an interruption left, or is none."""
    if not file.is_file():
        return
    for line in read_text(file, what="record of `show`").splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        names = ("file", "made_from", "sha256")
        if isinstance(value, dict) and all(isinstance(value.get(name), str) for name in names):
            about = value.get("about")
            yield value["file"], {**value, "about": about if isinstance(about, dict) else {}}


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _identity(made_from: Any) -> str:
    return sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
