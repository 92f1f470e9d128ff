"""Why a video could not be decoded: a kind of failure that can be counted, and the decoder's message."""

from __future__ import annotations

from typing import Literal

from pipeline.errors import SolaPipelineError

FailureKind = Literal[
    "unreadable",  # the file cannot be opened, or is no known container
    "refused_container",  # a playlist, concat file, image or other format that is not accepted
    "no_video_stream",
    "unsupported_codec",
    "too_large",  # more pixels per frame than the limit
    "too_long",  # more seconds than the limit
    "too_short",  # shorter than one window, with tail="drop"
    "decode_error",  # the video stream yields no frame at all
    "corrupt",  # the share of damaged frames is above the limit
    "truncated",  # far shorter than its container claims
    "timeout",  # the decoder made no progress for longer than the limit and was killed
    "out_of_memory",  # the decoder asked for more memory than the limit
    "crashed",  # the decoder's process died
    "not_fetched",  # the download from object storage failed
    "disk_full",  # no room for the local copy of a remote video
]


class VideoError(SolaPipelineError):
    """One video cannot be used; it does not affect the others.

    Args:
        kind: kind of failure.
        reason: what happened, in the decoder's own words if it has any.
    """

    def __init__(self, kind: FailureKind, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind: FailureKind = kind
        self.reason = reason
