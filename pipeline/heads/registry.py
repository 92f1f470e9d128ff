"""The heads by name."""

from pipeline.heads.actionness import ActionnessHead
from pipeline.heads.anchor_free import AnchorFreeHead
from pipeline.heads.base import Head
from pipeline.heads.config import HeadConfig
from pipeline.heads.gtad import GtadHead

HEADS: dict[str, type[Head]] = {"anchor_free": AnchorFreeHead, "gtad": GtadHead, "actionness": ActionnessHead}


def build_head(channels: int, num_classes: int, config: HeadConfig) -> Head:
    """Return a new head of `config.kind`, with random weights from torch's generator.

    Args:
        channels: C of the features.
        num_classes: K.
        config: the network's options.
    """
    return HEADS[config.kind](channels, num_classes, config)
