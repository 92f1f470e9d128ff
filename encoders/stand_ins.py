"""Recognize files that a failed download leaves in place of the real one."""

from __future__ import annotations

from pathlib import Path

HEAD_BYTES = 512
_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")


def stand_in(head: bytes) -> str | None:
    """Return what a file that begins with `head` is, in words that follow "it is", and the remedy; None if it is real.

    Args:
        head: the first `HEAD_BYTES` bytes, or all if the file is shorter.
    """
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(_LFS):
        return "a pointer of Git LFS, not the file itself; run `git lfs pull` where it comes from"
    if start.startswith(_PAGES):
        return "a web page, not the file itself; look at it in a browser, and download the file again"
    return None if head else "empty; copy or download it again"


def stand_in_of(path: Path) -> str | None:
    """Return `stand_in` of a regular file; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return stand_in(file.read(HEAD_BYTES))
    except OSError:
        return None
