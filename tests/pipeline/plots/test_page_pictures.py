"""Pictures of a page: ink of both modes, one color a class, what changed in words, curves with the numbers given."""

import colorsys

import numpy as np
import pytest

from pipeline.annotations.segments import Segment
from pipeline.plots.colors import class_colors
from pipeline.plots.figures import new_figure
from pipeline.plots.map_curve import draw_map_curve
from pipeline.plots.page_style import page_style, save_for_page
from pipeline.plots.training_curves import draw_head_curves, draw_sola_losses
from pipeline.plots.tsm import Tsm, TsmView
from pipeline.plots.tsm_words import change_in_words


def test_the_ink_of_a_picture_follows_the_mode_of_its_reader(tmp_path):
    with page_style():
        figure = new_figure(3, 2)
        figure.subplots().set(xlabel="seconds", title="times")
    save_for_page(figure, tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()
    assert "@media(prefers-color-scheme:dark)" in text
    assert text.count("var(--ink)") > 5
    for black in ("#000000", "#0a0b0c", "#0a0b0d", "fill: #ffffff"):
        assert black not in text


def test_classes_have_colors_that_differ_and_carry_dark_text():
    colors = class_colors([str(number) for number in range(30)])
    assert len(set(colors.values())) == 30
    assert class_colors(["0", "1"]) == {"0": colors["0"], "1": colors["1"]}
    hues = []
    for color in list(colors.values())[:8]:
        red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
        hues.append(colorsys.rgb_to_hls(red, green, blue)[0])
        # Relative luminance of WCAG; text #111 has about 0.006.
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        assert (np.dot(linear, (0.2126, 0.7152, 0.0722)) + 0.05) / 0.056 > 4.5
    apart = [abs(one - two) for k, one in enumerate(hues) for two in hues[:k]]
    assert min(min(gap, 1 - gap) for gap in apart) > 0.05


def view(before: np.ndarray, after: np.ndarray, segments=()) -> TsmView:
    tsms = tuple(Tsm("t", matrix, 1, 0.0, float(len(matrix)), 1.0) for matrix in (before, after))
    steps = np.abs(np.subtract.outer(np.arange(len(before)), np.arange(len(before))))
    target = np.where(steps < 2, 1.0, 0.5)
    return TsmView("v", tsms, target, "target", "none", tuple(segments))


def test_what_changed_is_said_of_actions_or_of_times():
    before = np.full((4, 4), 0.5)
    after = before.copy()
    after[:2, :2] = 0.9  # the first two seconds, one action
    words = change_in_words(view(before, after, [Segment((0.0, 2.0), "jump")]))
    # One pair of the action; five others.
    assert words.startswith("Snippets of one annotated action are 0.500 alike before SoLa and 0.900 after; all other")
    assert "all other pairs 0.500 and 0.500." in words
    assert "was 0.000 and is 0.400: SoLa raised it." in words
    assert f"changed by {0.4 / 6:.3f} on average" in words
    # Without annotations: three pairs of neighbors, of which one rose by 0.4.
    words = change_in_words(view(before, after))
    assert f"Snippets close in time are 0.500 alike before SoLa and {0.5 + 0.4 / 3:.3f} after; distant ones" in words
    assert "SoLa hardly changed it. A similarity changed by less than 0.001" in change_in_words(view(before, before))
    assert "SoLa lowered it" in change_in_words(view(after, before, [Segment((0.0, 2.0), "jump")]))


def test_curves_show_the_numbers_that_they_are_given():
    history = [{"step": k, "loss": 1 / k, "constant_loss": 0.4, "odd_loss": None} for k in (1, 2, 4)]
    axes = draw_sola_losses(history).axes[0]
    assert [list(line.get_ydata()) for line in axes.lines] == [[1, 0.5, 0.25], [0.4, 0.4, 0.4]]
    figure = draw_head_curves({"one": [3, 2], "two": [4, 1]}, {"one": [(2, 0.5)], "two": []})
    loss, score = figure.axes
    assert [list(line.get_ydata()) for line in loss.lines] == [[3, 2], [4, 1]]
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in score.lines] == [([2], [50])]
    assert len(draw_head_curves({"one": [3, 2]}, {}).axes) == 1


def test_the_band_of_a_curve_is_one_deviation_wide():
    maps = {"a": np.array([0.5, 0.2]), "b": np.array([0.4, 0.1])}
    figure = draw_map_curve((0.3, 0.5), maps, {"a": np.array([0.1, 0.3])})
    (axes,) = figure.axes
    assert [list(line.get_ydata()) for line in axes.lines] == [pytest.approx([50, 20]), pytest.approx([40, 10])]
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0, 60))  # no mAP is below 0
    # No legend covers the axes.
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert legend.y1 <= axes.get_window_extent().y0
