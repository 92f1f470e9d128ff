"""The data of small ablations."""

import numpy as np
import pytest

from pipeline.ablation.config import AblateConfig
from tests.stores import annotate, make_store


@pytest.fixture
def given(tmp_path) -> AblateConfig:
    """Return a store of four short videos and its annotations; cells run in this process."""
    random = np.random.default_rng(0)
    videos, truth = {}, {}
    for number, name in enumerate("abcd"):
        rows = random.normal(0, 1, (40, 6)).astype(np.float32)
        rows[12:24, 0] += 2  # centers from 6.5 to 12 s
        videos[name] = rows
        truth[name] = ("validation" if number == 3 else "training", 20.0, [(6.2, 12.2, "x")])
    make_store(tmp_path / "store", videos)
    annotations = annotate(tmp_path / "annotations.json", truth)
    return AblateConfig(store=(tmp_path / "store",), annotations=annotations, jobs=1)
