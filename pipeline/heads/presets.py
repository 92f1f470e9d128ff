"""Settings for common data sets, from those published with the heads where this project has the same option.

Sources: the anchor-free head on THUMOS14 and ActivityNet-1.3: ActionFormer's configurations thumos_i3d and anet_i3d
(github happyharrycn/actionformer_release at 18e5860 and bc9c4c6); on HACS: OpenTAD's actionformer/hacs_slowfast (github
sming256/OpenTAD at cd0ca96). G-TAD: lengths and durations of gtad_lib/opts.py (github frostinassiky/gtad at 376d7ad),
with the optimizer settings of this project. Differences: attention is local on every level, also where the original's
last level attends everywhere; no label smoothing and no drop path. Strides and frame rates belong to the features.
"""

from dataclasses import replace
from typing import Any, Literal

from pipeline.errors import PipelineError
from pipeline.heads.config import HeadConfig, PostConfig, TrainConfig
from pipeline.metrics.protocols import ACTIVITYNET_TIOUS, THUMOS_TIOUS

# THUMOS14 has no segments in its training subset: models are trained on validation and tested on test.
_THUMOS14_DATA: dict[str, Any] = {
    "train_subset": "validation",
    "validation_subset": "test",
    "validation_tious": THUMOS_TIOUS,
}

_ACTIVITYNET_POST = PostConfig(sigma=0.75, voting_tiou=0.9, max_detections=100)

# Heads for ActivityNet and HACS are trained without classes: `video_scores.name_proposals` adds the labels.
_ACTIVITYNET_GTAD = TrainConfig(
    epochs=10,
    warmup_epochs=1,
    batch_size=16,
    learning_rate=4e-4,
    validation_tious=ACTIVITYNET_TIOUS,
    class_agnostic=True,
    head=HeadConfig(kind="gtad", gtad_samples=32, gtad_max_duration_snippets=100, resize_snippets=100),
    post=_ACTIVITYNET_POST,
)

PRESETS: dict[tuple[str, str], TrainConfig] = {
    ("thumos14", "anchor_free"): TrainConfig(
        epochs=50,
        warmup_epochs=5,
        batch_size=2,
        learning_rate=1e-4,
        weight_decay=0.05,
        **_THUMOS14_DATA,
        head=HeadConfig(embed_dim=512, block="attention", attention_window=19, max_seq_len=2304),
    ),
    ("thumos14", "gtad"): TrainConfig(
        epochs=10,
        warmup_epochs=1,
        batch_size=8,
        learning_rate=4e-4,
        **_THUMOS14_DATA,
        head=HeadConfig(
            kind="gtad",
            gtad_samples=32,
            gtad_max_duration_snippets=64,
            max_seq_len=256,
            max_test_snippets=256,
        ),
    ),
    ("activitynet13", "anchor_free"): TrainConfig(
        epochs=15,
        warmup_epochs=5,
        batch_size=16,
        learning_rate=1e-3,
        weight_decay=0.05,
        validation_tious=ACTIVITYNET_TIOUS,
        class_agnostic=True,
        head=HeadConfig(
            embed_dim=256,
            block="attention",
            attention_window=7,
            position="absolute",
            regression_weight=2.0,
            resize_snippets=192,
        ),
        post=_ACTIVITYNET_POST,
    ),
    ("activitynet13", "gtad"): _ACTIVITYNET_GTAD,
    ("hacs", "anchor_free"): TrainConfig(
        epochs=15,
        warmup_epochs=5,
        batch_size=16,
        learning_rate=1e-3,
        weight_decay=0.03,
        validation_tious=ACTIVITYNET_TIOUS,
        class_agnostic=True,
        head=HeadConfig(
            embed_dim=256,
            block="attention",
            attention_window=13,
            position="absolute",
            max_seq_len=960,
        ),
        post=replace(_ACTIVITYNET_POST, voting_tiou=0.7),
    ),
    ("hacs", "gtad"): _ACTIVITYNET_GTAD,
}


def preset(name: str, *, kind: Literal["anchor_free", "gtad", "actionness"] = "anchor_free") -> TrainConfig:
    """Return the training settings for a data set: thumos14, activitynet13 or hacs.

    Args:
        name: of the data set.
        kind: of the head; actionness uses the settings of anchor_free.

    Raises:
        PipelineError: the name or kind is unknown.
    """
    source = "anchor_free" if kind == "actionness" else kind
    if (name, source) not in PRESETS:
        names, kinds = sorted({key[0] for key in PRESETS}), ["anchor_free", "gtad", "actionness"]
        raise PipelineError(f"preset must be one of {names} and kind one of {kinds}, got {name!r} and {kind!r}")
    config = PRESETS[name, source]
    return replace(config, head=replace(config.head, kind=kind)) if kind == "actionness" else config
