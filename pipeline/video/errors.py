"""Why a video could not be decoded: a class of failure that can be counted, and the decoder's own words."""

from __future__ import annotations

from typing import Literal

FailureKind = Literal[
    "unreadable",  # the file cannot be opened, or no accepted container is recognized in it
    "refused_container",  # a playlist, concat file, image or other format that is not on the list
    "no_video_stream",
    "unsupported_codec",
    "too_large",  # more pixels a frame than the limit
    "too_long",  # more seconds than the limit
    "too_short",  # tail="drop" and less than one window
    "decode_error",  # the video stream yields no frame at all
    "corrupt",  # the share of damaged frames is above the limit
    "truncated",  # far shorter than its container claims
    "timeout",  # no progress for longer than the limit; the decoder was killed
    "out_of_memory",  # the decoder asked for more memory than the limit
    "crashed",  # the decoder's process died
    "not_fetched",  # object storage did not give it
    "disk_full",  # there is no room for the local copy of a remote video
]


class VideoError(Exception):
    """One video cannot be used; the others are not touched by it.

    Args:
        kind: the class of failure.
        reason: what happened, in the decoder's own words where it has any.
    """

    def __init__(self, kind: FailureKind, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind: FailureKind = kind
        self.reason = reason
