"""Open an untrusted file: accept known containers, refuse all others before a decoder sees them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import av.logging

from pipeline.video.errors import VideoError
from pipeline.video.joined import boxes

# Demuxers that read one file and nothing else: no playlists, concat files, image sequences or devices.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,h264,hevc"

_SIGNS_OF_A_PLAYLIST = (
    b"#EXTM3U", b"ffconcat", b"<MPD", b"<?xml", b"[playlist]", b"[Reference]", b"http:", b"https:", b"rtsp:",
)  # fmt: skip
# Before version 19, PyAV raises at metadata that is not UTF-8, unless told not to.
OLD_PYAV: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
_MAX_SKIPPED = 100_000  # packets in a row
_PAGE = "an HTML page, not a video; download the video again"
# First bytes of files that are often found in place of a video, in lower case.
_NO_VIDEOS = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the video itself; run `git lfs pull`"),
    (b"/annex/objects/", "a git-annex pointer, not the video itself; run `git annex get`"),
    (b"<!doctype html", _PAGE),
    (b"<html", _PAGE),
    (b"pk\3\4", "a ZIP archive; unpack it"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
)


def open_container(path: Path) -> tuple[Any, list[str]]:
    """Open a container that can reach no other file; return it and FFmpeg's error messages.

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
    # FFmpeg does not recognize playlists with other suffixes; their first bytes show what they are.
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    other = next((what for start, what in _NO_VIDEOS if text.lower().startswith(start)), "")
    if other or b"<html" in text.lower():
        raise VideoError("unreadable", other or _PAGE)
    playlist = text.startswith(_SIGNS_OF_A_PLAYLIST)
    refused = playlist or isinstance(opened, av.error.ArgumentError)  # FFmpeg's answer to a format that is not listed
    reason = "; ".join([message_of(opened), *words])
    raise VideoError("refused_container" if refused else "unreadable", reason)


def _try_to_open(path: Path) -> tuple[Any, list[str]]:
    """Return the container, or the exception; and what FFmpeg logged."""
    # Capture FFmpeg's log only here: later its threads could deadlock with Python's logging.
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    opened: Any
    with av.logging.Capture() as logs:
        try:
            # With the protocol and the absolute path, a name like "concat:a|b" is a file name.
            opened = av.open(
                f"file:{path.absolute()}",
                **OLD_PYAV,
                options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
            )
        except (av.error.FFmpegError, OSError, ValueError, MemoryError) as error:
            opened = error
        finally:
            av.logging.set_level(level)
    words = [f"[{name}] {message.strip()}" for _, name, message in logs if name and message.strip()]
    return opened, list(dict.fromkeys(words))


def packets_of(container: Any, *streams: Any) -> Iterator[Any]:
    """Yield the packets of a file, or of some of its streams, and the packets that flush the decoders.

    PyAV (up to 18.1) knows only the streams at the beginning of the file. At a packet of a later stream, or at the very
    end, it may raise an IndexError: such a packet is skipped.
    """
    skipped, at_end = 0, False
    while skipped < _MAX_SKIPPED:
        try:
            for packet in container.demux(*streams):
                skipped, at_end = 0, not packet.size and packet.dts is None
                yield packet
            return
        except IndexError:
            if at_end:
                return
            skipped += 1


def is_fragmented(path: Path) -> bool:
    """Return whether an MP4 file consists of fragments, each with its own index (ISO/IEC 14496-12, 8.8.4)."""
    return b"moof" in boxes(path)


def avi_slots(path: Path, stream_index: int) -> int:
    """Return the slots for a stream in an AVI's index; at an empty slot the previous picture stays. 0: no index."""
    with path.open("rb") as file:
        at, size = 12, path.stat().st_size
        while at + 8 <= size:
            file.seek(at)
            name, length = struct.unpack("<4sI", file.read(8))
            if name == b"idx1":
                entries = file.read(min(length, size - at - 8))
                wanted = b"%02d" % stream_index
                return sum(entries[k : k + 2] == wanted for k in range(0, len(entries) - 15, 16))
            at += 8 + length + length % 2
    return 0


def message_of(error: Exception) -> str:
    """Return FFmpeg's message without the path, which the report of the failure names anyway."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
