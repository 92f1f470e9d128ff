"""The annotated videos that a training learns from and validates on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.annotations import Annotations, canonical_subset
from pipeline.errors import PipelineError
from pipeline.heads.config import TrainConfig
from pipeline.text.plain import counted
from pipeline.training.batches import TrainItem


def training_data(
    items_of: Callable[[str], list[TrainItem]],
    annotations: Annotations,
    config: TrainConfig,
    *,
    source: str,
    where: str,
    notes: list[str],
) -> tuple[list[TrainItem], list[TrainItem]]:
    """Return the training and validation videos.

    Args:
        items_of: returns the videos of a subset that can be used.
        source: the place of the videos; where: the file of the annotations; for messages.

    Raises:
        PipelineError: there is nothing to learn from.
    """
    one, other = config.train_subset, config.validation_subset
    if canonical_subset(one) == canonical_subset(other):
        raise PipelineError(f"train_subset and validation_subset must be two subsets, got {one!r} and {other!r}")
    counts = (
        ", ".join(f"{name}: {counted(number, 'video')}" for name, number in annotations.subsets().items()) or "none"
    )
    train_items, val_items = (items_of(subset) for subset in (one, other))
    if not train_items:
        raise PipelineError(
            f"none of the videos in {source} is in subset {one!r} of {where} (subsets there: {counts}); choose "
            "with --train-subset and --validation-subset (THUMOS14: --preset thumos14)"
        )
    if not any(item.segments for item in train_items):
        raise PipelineError(
            f"no segments in the {counted(len(train_items), 'video')} of subset {one!r} of {where} with features "
            f"(subsets there: {counts}): there is nothing to learn; choose another --train-subset"
        )
    if not any(item.segments for item in val_items):
        missing = "segments" if val_items else "features"
        notes.append(
            f"no video of subset {other!r} has {missing} (subsets: {counts}): the last epoch is kept, unchecked"
        )
        return train_items, []
    return train_items, val_items


def learned_labels(
    annotations: Annotations, train_items: Sequence[TrainItem], val_items: Sequence[TrainItem], *, notes: list[str]
) -> tuple[str, ...]:
    """Return the classes that occur in training; note those that only validation videos have."""
    seen = {segment.label for item in train_items for segment in item.segments}
    if unseen := sorted({segment.label for item in val_items for segment in item.segments} - seen):
        notes.append(f"classes without training segments, all missed in validation: {', '.join(unseen)}")
    return tuple(label for label in annotations.labels if label in seen)
