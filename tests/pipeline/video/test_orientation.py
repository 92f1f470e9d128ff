"""Pictures are used as a player shows them, for every display matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.video import decord_backend
from pipeline.video.decode import Backend, decode
from pipeline.video.errors import VideoError
from pipeline.video.metadata import probe
from tests.pipeline.video.test_decode import PLAN, SPEC, indexes_of
from tests.videos import constant, picture_of, place_track, remux

# All ways to lay a picture on a grid of pixels: columns of the display matrix (a, b, c, d).
ORIENTATIONS = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)] + [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]


def stored_for(a: int, b: int, c: int, d: int) -> Callable[[int, int, int], np.ndarray]:
    """Draw the picture that the matrix makes upright, point by point."""

    def draw(index: int, height: int, width: int) -> np.ndarray:
        q, p = np.mgrid[:height, :width]
        x, y = a * p + c * q, b * p + d * q
        x, y = x - x.min(), y - y.min()
        return picture_of(index, y.max() + 1, x.max() + 1)[y, x]

    return draw


def turned_video(path: Path, matrix: tuple[int, int, int, int], stretch: float = 1) -> Path:
    mp4 = constant(path.with_suffix(".mp4"), 9, 30, size=(48, 96), draw=stored_for(*matrix))
    place_track(mp4, *(stretch * value for value in matrix))
    return mp4 if path.suffix == ".mp4" else remux(mp4, path)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("matrix", ORIENTATIONS, ids=str)
def test_each_display_matrix_makes_the_picture_upright_in_each_container(tmp_path, suffix, matrix):
    path = turned_video(tmp_path / f"v.{suffix}", matrix)
    info = probe(path)
    assert info.mirrored == (np.linalg.det(np.reshape(matrix, (2, 2))) < 0)
    assert info.display_size == ((96, 48) if matrix[0] == 0 else (48, 96))
    assert info.notes == ()
    assert [row[0] for row in indexes_of(path)] == [1, 5, 8]  # each index_of sees it upright


@pytest.mark.parametrize("matrix", ORIENTATIONS, ids=str)
def test_a_matrix_that_also_scales_turns_and_mirrors_alike(tmp_path, matrix):
    path = turned_video(tmp_path / "v.mp4", matrix, stretch=1.5)
    assert [row[0] for row in indexes_of(path, decoder="pyav")] == [1, 5, 8]


@pytest.mark.parametrize("matrix", [(0, 0, 0, 0), (1, 0, 0, 0), (1, 1, 1, 1)], ids=str)
def test_a_degenerate_matrix_is_not_applied(tmp_path, matrix):
    path = constant(tmp_path / "v.mp4", 9, 30, size=(48, 96))
    place_track(path, *matrix)
    info = probe(path)
    assert (info.rotation, info.mirrored, info.upright) == (0, False, False)
    assert info.notes == ("a display matrix that shows nothing is not applied",)
    assert [row[0] for row in indexes_of(path)] == [1, 5, 8]


@pytest.mark.parametrize(("degrees", "rotation"), [(30, 0), (-30, 0), (60, 90), (100, 90), (-80, 270), (170, 180)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_other_angles_are_rounded_and_noted(tmp_path, degrees, rotation, mirrored):
    angle = math.radians(degrees)  # counter-clockwise on the screen, where y points down
    a, b, c, d = math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
    path = constant(tmp_path / "v.mp4", 3, 30)
    place_track(path, *((-a, -b, c, d) if mirrored else (a, b, c, d)))
    info = probe(path)
    assert (info.rotation, info.mirrored) == (rotation, mirrored)
    (note,) = info.notes
    assert note.endswith(f"rounded to {rotation}")


@pytest.mark.skipif(not decord_backend.is_installed(), reason="decord is not installed")
@pytest.mark.parametrize("matrix", [*ORIENTATIONS[1:], (0, 0, 0, 0)], ids=str)
def test_decord_is_used_for_upright_pictures_only(tmp_path, matrix):
    path = constant(tmp_path / "v.mp4", 9, 30)
    place_track(path, *matrix)
    info = probe(path)
    assert [*decode(info, PLAN, SPEC)][-1].backend == "pyav"
    with pytest.raises(VideoError, match="decord is not exact here"):
        list(decode(info, PLAN, SPEC, backend=Backend("decord")))
