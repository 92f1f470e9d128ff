"""CONTRIBUTING says where things are: what it names exists, and no room is left out."""

from __future__ import annotations

import re

from tests import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([\w./-]+)`", TEXT)


def test_every_file_and_folder_that_it_names_is_there() -> None:
    places = (ROOT, ROOT / "pipeline")
    paths = [name for name in NAMED if "/" in name or name.endswith((".py", ".md"))]
    assert len(paths) > 30
    assert [name for name in paths if not any((place / name).exists() for place in places)] == []


def test_it_names_every_room_and_every_file_beside_them() -> None:
    beside = {f"{p.name}/" if p.is_dir() else p.name for p in (ROOT / "pipeline").iterdir() if p.name != "__pycache__"}
    assert beside - {"py.typed"} - set(NAMED) == set()
