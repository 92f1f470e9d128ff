"""The OpenTAD configuration of an export: data sets and evaluation."""

from __future__ import annotations

from pipeline.exports.arrays import FEATURES, training_length
from pipeline.exports.job import Job
from pipeline.metrics.protocols import ACTIVITYNET_TIOUS, THUMOS_TIOUS

TRAIN, VAL = "training", "validation"

_LOAD = """load = dict(type="LoadFeats", feat_format="npy", prefix={prefix!r})
tensors = ["feats", "gt_segments", "gt_labels"]
"""
_REARRANGE = """dict(type="Rearrange", keys=["feats"], ops="t c -> c t"),"""
_COLLECT = """dict(type="Collect", inputs="feats", keys=["masks", "gt_segments", "gt_labels"]),"""
_COLLECT_FEATURES = """dict(type="Collect", inputs="feats", keys=["masks"]),"""


def configuration(job: Job, *, annotations: str, classes: str) -> str:
    """Return the text of the configuration.

    Args:
        annotations, classes: names of the files in the export.
    """
    resized = job.config.resize_snippets
    return f"""{_resized_head(job) if resized else _strided_head(job)}
shared = dict(
    ann_file=root + "{annotations}",
    class_map=root + "{classes}",
    data_path=root + "{FEATURES}/",
    block_list=root + "{FEATURES}/missing_files.txt",
    filter_gt=False,
    sample_stride=1,
    **rows,
)
{_LOAD.format(prefix=job.config.prefix)}
{_RESIZED_SETS if resized else _STRIDED_SETS}
evaluation = dict(
    type="mAP",
    subset="{VAL}",
    tiou_thresholds={list(ACTIVITYNET_TIOUS if resized else THUMOS_TIOUS)},
    ground_truth_filename=root + "{annotations}",
)
num_classes = {len(job.labels)}
in_channels = {job.store.spec.channels}
"""


def _strided_head(job: Job) -> str:
    clock = job.clock
    return f"""# Data set section for OpenTAD. One "frame" is {job.tick}; all times below are in frames.
root = {str(job.home) + "/"!r}
window_size = {training_length(job)}  # rows; the longest video has {job.longest}
rows = dict(feature_stride={clock.stride}, offset_frames={clock.offset})
"""


def _resized_head(job: Job) -> str:
    return f"""# Data set section for OpenTAD. Every video has {job.config.resize_snippets} rows, which span it.
root = {str(job.home) + "/"!r}
rows = dict(resize_length={job.config.resize_snippets})
"""


_STRIDED_SETS = f"""dataset = dict(
    train=dict(
        type="ThumosPaddingDataset",
        subset_name="{TRAIN}",
        pipeline=[
            load,
            dict(type="ConvertToTensor", keys=tensors),
            dict(type="RandomTrunc", trunc_len=window_size, trunc_thresh=0.5, crop_ratio=[0.9, 1.0]),
            {_REARRANGE}
            {_COLLECT}
        ],
        **shared,
    ),
    val=dict(
        type="ThumosSlidingDataset",
        subset_name="{VAL}",
        window_size=window_size,
        window_overlap_ratio=0.25,
        pipeline=[
            load,
            dict(type="ConvertToTensor", keys=tensors),
            dict(type="SlidingWindowTrunc", with_mask=True),
            {_REARRANGE}
            {_COLLECT}
        ],
        **shared,
    ),
    test=dict(
        type="ThumosSlidingDataset",
        subset_name="{VAL}",
        test_mode=True,
        window_size=window_size,
        window_overlap_ratio=0.5,
        pipeline=[
            load,
            dict(type="ConvertToTensor", keys=["feats"]),
            dict(type="SlidingWindowTrunc", with_mask=True),
            {_REARRANGE}
            {_COLLECT_FEATURES}
        ],
        **shared,
    ),
)"""

# The resizing step converts segments from seconds to rows; it does not change the rows.
_RESIZED_SETS = f"""resize = dict(type="ResizeFeat", tool="interpolate")
learned = [
    load,
    dict(type="ConvertToTensor", keys=tensors),
    resize,
    {_REARRANGE}
    {_COLLECT}
]
tested = [
    load,
    dict(type="ConvertToTensor", keys=["feats"]),
    resize,
    {_REARRANGE}
    {_COLLECT_FEATURES}
]
dataset = dict(
    train=dict(type="AnetResizeDataset", subset_name="{TRAIN}", pipeline=learned, **shared),
    val=dict(type="AnetResizeDataset", subset_name="{VAL}", pipeline=learned, **shared),
    test=dict(type="AnetResizeDataset", subset_name="{VAL}", pipeline=tested, test_mode=True, **shared),
)"""
