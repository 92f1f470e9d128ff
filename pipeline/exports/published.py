"""Published feature sequences by the ids of their videos: one file each, or one of RGB and one of flow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError
from pipeline.exports.array_shapes import as_rows, joined
from pipeline.exports.arrayfiles import ArrayFile, find_arrays
from pipeline.exports.claims import BadArray
from pipeline.exports.config import ImportConfig


@dataclass(frozen=True)
class Published:
    """The features of one video.

    Args:
        streams: its array, or those of RGB and flow.
    """

    streams: tuple[ArrayFile, ...]

    @property
    def where(self) -> str:
        """The first file, and the key in it, for messages."""
        return self.streams[0].where

    @property
    def file(self) -> Path:
        """The first file."""
        return self.streams[0].file

    def read(self, config: ImportConfig) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return the rows [T, C], and the number of channels of each stream.

        Raises:
            BadArray: a file is damaged or holds something else, or the streams do not go together.
        """
        if len(self.streams) == 1 and config.flow is not None:
            raise BadArray("has no partner in the other stream, by its name without prefix and suffix")
        parts = [as_rows(stream.read(), config) for stream in self.streams]
        rows = parts[0] if len(parts) == 1 else joined(*parts)
        return _streams_of(rows, config) if config.stream_channels else (rows, tuple(part.shape[1] for part in parts))


def _streams_of(rows: np.ndarray, config: ImportConfig) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the columns of the streams to keep, and the number of channels of each."""
    rgb, flow = config.stream_channels
    if rows.shape[1] != rgb + flow:
        raise BadArray(f"has {rows.shape[1]} channels, but stream_channels {rgb} and {flow} are {rgb + flow}")
    if config.stream is None:
        return rows, (rgb, flow)
    return (rows[:, :rgb], (rgb,)) if config.stream == "rgb" else (rows[:, rgb:], (flow,))


def find_published(source: Path, config: ImportConfig) -> dict[str, Published]:
    """Return the sequences in `source`, with those of `config.flow` beside them, by the ids of their videos.

    Raises:
        PipelineError: there are none, or two files of a stream have the same id.
    """
    streams = [_by_id(place, config) for place in (source, config.flow) if place is not None]
    ids = dict.fromkeys(video_id for stream in streams for video_id in stream)
    return {i: Published(tuple(stream[i] for stream in streams if i in stream)) for i in ids}


def _by_id(source: Path, config: ImportConfig) -> dict[str, ArrayFile]:
    """Return the arrays by the ids of their videos."""
    found: dict[str, ArrayFile] = {}
    for item in find_arrays(source, config):
        video_id = _id(item.name, config)
        if video_id in found:
            raise PipelineError(f"{source} has two feature files of video {video_id!r}: rename or remove one")
        found[video_id] = item
    return found


def _id(name: str, config: ImportConfig) -> str:
    folder, slash, last = name.rpartition("/")
    last = last.removeprefix(config.prefix)
    longest = max((suffix for suffix in config.suffixes if last.endswith(suffix)), key=len, default="")
    return folder + slash + last.removesuffix(longest)
