"""Opening a file that a stranger wrote: one of the accepted containers, or refused before a decoder sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import av.error
import av.logging

from pipeline.video.errors import VideoError

# Demuxers that read one file and nothing else. Playlists, concat files, image sequences and devices are not here.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg"

_SIGNS_OF_A_PLAYLIST = (
    b"#EXTM3U", b"ffconcat", b"<MPD", b"<?xml", b"[playlist]", b"[Reference]", b"http:", b"https:", b"rtsp:",
)  # fmt: skip


def open_container(path: Path) -> tuple[Any, list[str]]:
    """The opened container and what FFmpeg complained of; nothing but the file itself can be opened through it.

    Raises:
        VideoError: unreadable or refused_container.
        MemoryError: the memory limit is reached.
    """
    if not path.is_file():
        raise VideoError("unreadable", f"no such file, or not a regular one: {path}")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise VideoError("unreadable", str(error)) from None
    if not head:
        raise VideoError("unreadable", "the file is empty")
    opened, words = _try_to_open(path)
    if not isinstance(opened, Exception):
        return opened, words
    if isinstance(opened, MemoryError):
        raise MemoryError(str(opened))
    # FFmpeg passes over some playlists whose names do not end like one; their first bytes say what they are.
    playlist = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_SIGNS_OF_A_PLAYLIST)
    refused = playlist or isinstance(opened, av.error.ArgumentError)  # its answer to a format that is not listed
    reason = "; ".join([words_of(opened), *words])
    raise VideoError("refused_container" if refused else "unreadable", reason)


def _try_to_open(path: Path) -> tuple[Any, list[str]]:
    """The container, or the exception and what FFmpeg logged."""
    # FFmpeg logs through Python only while opening, when it has started no threads that could wait for each other.
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    opened: Any
    with av.logging.Capture() as logs:
        try:
            # The absolute path and its protocol are spelled out: a name like "concat:a|b" is a file name.
            opened = av.open(
                f"file:{path.absolute()}",
                metadata_errors="ignore",
                options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
            )
        except (av.error.FFmpegError, OSError, ValueError, MemoryError) as error:
            opened = error
        finally:
            av.logging.set_level(level)
    words = [f"[{name}] {message.strip()}" for _, name, message in logs if name and message.strip()]
    return opened, list(dict.fromkeys(words))


def packets_of(container: Any, *streams: Any) -> Iterator[Any]:
    """The packets of a file, or of some of its streams, and those that flush the decoders.

    Where a stream begins in the middle of the file, PyAV (up to 18.1) looks for it at the very end among those that
    there were in the beginning, or does not, depending on what lies in memory.
    """
    with suppress(IndexError):
        yield from container.demux(*streams)


def words_of(error: Exception) -> str:
    """FFmpeg's own words without the path, which whoever reports the failure names anyway."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
