"""What the JSON files of a feature store say, field by field.

A file may lack fields, since older versions and imports wrote fewer. `check_sidecar` in `pipeline.store.spec` refuses a
sidecar that lacks `rows`, `shape`, `duration_seconds` or `sha256`.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class RowsRecord(TypedDict, total=False):
    """What a row means. The seconds are None where they differ from video to video.

    Fractions are text such as "30000/1001"; `fps` is "video" where rows follow each video's own rate.
    """

    meaning: str
    stride_seconds: float | None
    window_seconds: float | None
    first_center_seconds: float | None
    fps: str
    stride_frames: str
    window_frames: str
    num_frames: int
    tail: Literal["pad", "drop"]
    stack: int  # only if it is not 1
    flow: bool  # only if it is true


class SpecRecord(TypedDict):
    """What all rows of a store share: `store.json`, apart from its `schema`."""

    channels: int
    dtype: Literal["float32", "float16"]
    rows: RowsRecord
    encoder: dict[str, Any]
    weights: dict[str, Any]
    precision: str
    decoder_asked: str
    sola: dict[str, Any] | None


class SourceRecord(TypedDict, total=False):
    """The file that rows were made from: a video, or an imported array.

    `modified_ns` is the time of the last change of a local file, `etag` the version of a remote one. All but `path` are
    None where the file could not be read.
    """

    path: str
    bytes: int | None
    modified_ns: int | None
    etag: str
    sha256: str | None
    kind: Literal["frames"]  # of a folder of numbered pictures
    frame_rate: str  # its pictures a second, such as "25" or "30000/1001"
    features: str  # path of an imported array, in the place of all the others


class DecoderRecord(TypedDict):
    """The decoder that ran, why, and what it met: numbers of frames, and remarks in words."""

    backend: str
    version: str
    reason: str
    decoded_frames: int
    corrupt_frames: int
    notes: list[str]


class OriginRecord(TypedDict):
    """The features that a sequence was made from."""

    array_sha256: str


class VideoDetails(TypedDict, total=False):
    """What a sidecar says about its video, as opposed to its array."""

    rows: RowsRecord
    duration_seconds: float
    duration_exact: str
    duration_from: Literal["annotations", "rows"]  # of an import
    video_fps: float | None
    start_offset_seconds: float
    decoder: DecoderRecord
    source: SourceRecord
    libraries: dict[str, str]
    enhanced_from: OriginRecord
    turned_from: OriginRecord  # of a control with its channels turned


class Sidecar(VideoDetails, total=False):
    """The sidecar of a sequence: its array, its video, and the spec of its store."""

    schema: int
    id: str
    shape: list[int]
    sha256: str
    channels: int
    dtype: Literal["float32", "float16"]
    encoder: dict[str, Any]
    weights: dict[str, Any]
    precision: str
    decoder_asked: str
    sola: dict[str, Any] | None


class FailureRecord(TypedDict, total=False):
    """A video that failed: the class of failure, the reason, the number of attempts, the file."""

    id: str
    kind: str
    reason: str
    attempts: int
    source: SourceRecord
