"""How a pool decodes videos."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.snippets import SnippetPlan
from pipeline.video.audio import AudioSettings
from pipeline.video.decode import Decoder
from pipeline.video.flow import FlowSettings
from pipeline.video.limits import DecodeLimits
from pipeline.video.pictures import Framing


@dataclass(frozen=True)
class DecodeSettings:
    """How videos are decoded and cut into snippets.

    Args:
        spec: the encoder's definition (a dataclass with crop_size, resized and crop_box).
        plan: how videos are cut into snippets.
        decoder: "auto" (PyAV), "decord", "pyav", "torchcodec", or "torchcodec:cuda".
        limits: when a video is given up.
        flow: settings of flow, for a plan with flow.
        audio: settings of audio, if snippets have it.
    """

    spec: Framing
    plan: SnippetPlan
    decoder: Decoder = "auto"
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    flow: FlowSettings | None = None
    audio: AudioSettings | None = None
