"""The heads by name."""

from pipeline.localization.actionness import ActionnessHead
from pipeline.localization.base import Head
from pipeline.localization.config import HeadConfig
from pipeline.localization.gtad import GtadHead
from pipeline.localization.head import AnchorFreeHead

HEADS: dict[str, type[Head]] = {"anchor_free": AnchorFreeHead, "gtad": GtadHead, "actionness": ActionnessHead}


def build_head(channels: int, num_classes: int, config: HeadConfig) -> Head:
    """A new head of ``config.kind``, with random weights from torch's generator.

    Args:
        channels: C of the features.
        num_classes: K.
        config: the network's options.
    """
    return HEADS[config.kind](channels, num_classes, config)
