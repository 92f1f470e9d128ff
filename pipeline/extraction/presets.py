"""Published settings of feature extraction by name, for `extract --preset` and `run --extract-preset`.

Each preset holds the settings of features that others published, as far as their sources state them. Features made with
a preset are comparable with the published ones. The numbers differ, because decoders, scaling and weight files differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from pipeline.errors import PipelineError

FeaturePreset = Literal["thumos14-i3d", "activitynet-i3d", "activitynet-tsn", "hacs-i3d", "tsp"]


@dataclass(frozen=True)
class PublishedSettings:
    """Options of `extract` by name, and their source."""

    options: dict[str, Any]
    source: str


FEATURE_PRESETS: dict[str, PublishedSettings] = {
    "thumos14-i3d": PublishedSettings(
        {"encoder": "i3d_inception", "streams": "rgb,flow", "fps": "video", "window_frames": 16, "stride_frames": 4},
        "THUMOS14, windows of 16 frames every 4 frames of the video; ActionFormer (Zhang et al. 2022), "
        "configuration thumos_i3d: feat_stride 4, num_frames 16",
    ),
    "activitynet-i3d": PublishedSettings(
        {"encoder": "i3d_inception", "streams": "rgb,flow", "fps": 25, "window_frames": 16, "stride_frames": 16},
        "ActivityNet-1.3, windows of 16 frames every 16 frames at 25 fps; ActionFormer, configuration anet_i3d: "
        "feat_stride 16, num_frames 16, default_fps 25",
    ),
    "activitynet-tsn": PublishedSettings(
        {"encoder": "tsn_r50", "streams": "rgb,flow", "fps": "video", "window_frames": 16, "stride_frames": 16},
        "ActivityNet-1.3, a snippet every 16 frames of the video; BSN (Lin et al. 2018), section 4.1 (theirs came from "
        "another TSN, trained on ActivityNet)",
    ),
    "hacs-i3d": PublishedSettings(
        {"encoder": "i3d_inception", "streams": "rgb,flow", "fps": 30, "window_frames": 16, "stride_frames": 15},
        "HACS Segments, two rows a second; TriDet (Shi et al. 2023), configuration hacs_i3d: feat_stride 1, "
        "default_fps 2 (their window is not stated: 16 frames, as elsewhere)",
    ),
    "tsp": PublishedSettings(
        {"encoder": "r2plus1d_34", "weights": "tsp_activitynet", "window_frames": 16, "stride_frames": 16},
        "ActivityNet-1.3, windows of 16 frames every 16 frames at 15 fps; TSP (Alwassel et al. 2021), section 4",
    ),
}


def feature_preset(name: str) -> dict[str, Any]:
    """Return the options of `extract` that a preset sets.

    Raises:
        PipelineError: no preset has that name.
    """
    if name not in FEATURE_PRESETS:
        raise PipelineError(f"preset must be one of {', '.join(get_args(FeaturePreset))}, got {name!r}")
    return dict(FEATURE_PRESETS[name].options)
