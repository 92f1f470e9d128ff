"""Directions on a plane."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from pipeline.segmentation.plane import on_plane


def test_the_coordinates_are_those_of_a_principal_component_analysis():
    rows = np.random.default_rng(0).normal(size=(30, 5)) * [1, 5, 2, 0.5, 3] + 7
    found, expected = on_plane(rows), PCA(2).fit_transform(rows)
    assert np.abs(found) == pytest.approx(np.abs(expected))
    assert (found[np.abs(found).argmax(axis=0), [0, 1]] > 0).all()


@pytest.mark.parametrize("rows", [np.ones((1, 4)), np.array([[1.0], [3.0]])])
def test_what_has_fewer_axes_lies_on_a_point_or_a_line(rows):
    assert on_plane(rows).tolist() in ([[0.0, 0.0]], [[1.0, 0.0], [-1.0, 0.0]], [[-1.0, 0.0], [1.0, 0.0]])
