"""Settings for the field's data sets.

For the anchor-free head they follow ActionFormer's published ones (arXiv 2202.07925, appendix) where this head has the
same option; for G-TAD the paper's (arXiv 1911.11462, section 4.1). HACS follows the anchor-free convention with one
more level for its longer videos. Frame rates and strides belong to the features, not to the head.
"""

from dataclasses import replace
from typing import Literal

from pipeline.errors import PipelineError
from pipeline.localization.config import HeadConfig, PostConfig, TrainConfig
from pipeline.localization.metrics import ACTIVITYNET_TIOUS, THUMOS_TIOUS

_ACTIVITYNET_POST = PostConfig(pre_nms_topk=1000, voting_tiou=0.9, max_detections=100, multiclass=False, sigma=0.75)

PRESETS: dict[tuple[str, str], TrainConfig] = {
    ("thumos14", "anchor_free"): TrainConfig(
        epochs=35,
        warmup_epochs=5,
        batch_size=2,
        learning_rate=1e-4,
        validation_tious=THUMOS_TIOUS,
        head=HeadConfig(width=512, levels=6, block="attention", max_train_snippets=2304, max_test_snippets=2304),
    ),
    ("thumos14", "gtad"): TrainConfig(
        epochs=10,
        warmup_epochs=1,
        batch_size=16,
        learning_rate=4e-4,
        validation_tious=THUMOS_TIOUS,
        head=HeadConfig(kind="gtad", width=256, gtad_samples=32, gtad_max_duration_snippets=64, max_train_snippets=256),
    ),
    ("activitynet13", "anchor_free"): TrainConfig(
        epochs=15,
        warmup_epochs=5,
        batch_size=16,
        learning_rate=1e-3,
        validation_tious=ACTIVITYNET_TIOUS,
        head=HeadConfig(width=256, levels=6, block="attention", attention_window=7, resize_snippets=160),
        post=_ACTIVITYNET_POST,
        class_agnostic=True,
    ),
    ("activitynet13", "gtad"): TrainConfig(
        epochs=10,
        warmup_epochs=1,
        batch_size=16,
        learning_rate=4e-3,
        validation_tious=ACTIVITYNET_TIOUS,
        head=HeadConfig(kind="gtad", width=256, gtad_samples=32, gtad_max_duration_snippets=100, resize_snippets=100),
        post=_ACTIVITYNET_POST,
        class_agnostic=True,
    ),
    ("hacs", "anchor_free"): TrainConfig(
        epochs=15,
        warmup_epochs=5,
        batch_size=16,
        learning_rate=1e-3,
        validation_tious=ACTIVITYNET_TIOUS,
        head=HeadConfig(width=512, levels=7, block="attention", max_train_snippets=960, max_test_snippets=960),
        post=replace(_ACTIVITYNET_POST, multiclass=True),
    ),
    ("hacs", "gtad"): TrainConfig(
        epochs=10,
        warmup_epochs=1,
        batch_size=16,
        learning_rate=4e-3,
        validation_tious=ACTIVITYNET_TIOUS,
        head=HeadConfig(kind="gtad", width=256, gtad_samples=32, gtad_max_duration_snippets=100, resize_snippets=100),
        post=_ACTIVITYNET_POST,
        class_agnostic=True,
    ),
}


def preset(name: str, *, kind: Literal["anchor_free", "gtad", "actionness"] = "anchor_free") -> TrainConfig:
    """The training settings for a data set: thumos14, activitynet13 or hacs.

    Args:
        kind: anchor_free, gtad, or actionness, which takes those of anchor_free.
    """
    source = "anchor_free" if kind == "actionness" else kind
    if (name, source) not in PRESETS:
        names, kinds = sorted({key[0] for key in PRESETS}), ["anchor_free", "gtad", "actionness"]
        raise PipelineError(f"preset must be one of {names} and kind one of {kinds}, got {name!r} and {kind!r}")
    config = PRESETS[name, source]
    return replace(config, head=replace(config.head, kind=kind)) if kind == "actionness" else config
