"""The hub's cache as its client writes it, with made-up repositories."""

from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cache_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `folder` the hub's cache, and the hub unreachable."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return folder


def put_repository(cache: Path, repository: str, files: Path, *, branch: str = "main") -> Path:
    """Copy a folder into the cache as a commit of a repository that a branch names; return the commit's folder."""
    place = cache / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True, exist_ok=True)
    (place / "refs" / branch).write_text(COMMIT)
    return Path(shutil.copytree(files, place / "snapshots" / COMMIT))
