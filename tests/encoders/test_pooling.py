"""Separable pooling: equal to torch's."""

import pytest
import torch

from encoders.pooling import as_separable


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "ceil_mode"),
    [
        ((1, 3, 3), (1, 2, 2), (0, 1, 1), False),
        ((2, 1, 1), (2, 1, 1), (0, 0, 0), False),
        (3, 1, 1, False),
        (3, 2, 0, True),
        ((2, 2, 2), 2, 0, True),
        ((3, 2, 2), (2, 1, 1), (1, 0, 1), False),
    ],
)
def test_separable_pooling_equals_torch(kernel, stride, padding, ceil_mode):
    pool = torch.nn.MaxPool3d(kernel, stride, padding, ceil_mode=ceil_mode)
    separable = as_separable(pool)
    assert separable is not None
    clips = torch.randn(2, 3, 7, 10, 9).to(memory_format=torch.channels_last_3d)
    assert torch.equal(separable(clips), pool(clips))


def test_pooling_with_dilation_or_indices_is_left_as_it_is():
    assert as_separable(torch.nn.MaxPool3d(2, dilation=2)) is None
    assert as_separable(torch.nn.MaxPool3d(2, return_indices=True)) is None
