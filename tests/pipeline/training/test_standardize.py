"""The deviation that a head's input is divided by."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.errors import PipelineError
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.stages.probe_views import rotation
from pipeline.training.batches import one_deviation
from pipeline.training.train_head import TrainingData, fit_head
from sola.old_names import stored_settings
from tests.pipeline.training.test_train_head import LABELS, tiny_config, tiny_items


def test_one_deviation_is_the_root_mean_square_of_each_stream_and_no_rotation_changes_it() -> None:
    std = torch.tensor([3.0, 4.0, 1.0, 1.0])
    assert one_deviation(std).tolist() == pytest.approx([(27 / 4) ** 0.5] * 4)
    assert one_deviation(std, (2, 2)).tolist() == pytest.approx([(25 / 2) ** 0.5] * 2 + [1.0] * 2)
    rows = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32) * std.numpy()
    before, after = (torch.from_numpy(x.std(axis=0)) for x in (rows, rotation(4, ())(rows)))
    assert not torch.allclose(before, after, atol=0.1)
    assert torch.allclose(one_deviation(before), one_deviation(after), atol=1e-4)


def test_the_option_chooses_and_the_way_of_0_1_is_left_out_of_files() -> None:
    config = tiny_config(epochs=1)
    assert config.standardize == "stream"
    of_stream, of_channel = (
        fit_head(TrainingData(tiny_items(), [], LABELS), replace(config, standardize=how)).head.standardize.std
        for how in ("stream", "channel")
    )
    assert len(set(of_stream.tolist())) == 1
    assert len(set(of_channel.tolist())) > 1
    assert torch.allclose(of_stream[:1], one_deviation(of_channel)[:1])
    assert "standardize" not in stored_settings(replace(config, standardize="channel"))
    assert stored_settings(config)["standardize"] == "stream"
    with pytest.raises(PipelineError, match="standardize must be one of stream, channel"):
        TrainConfig(standardize="none", head=HeadConfig())  # type: ignore[arg-type]
