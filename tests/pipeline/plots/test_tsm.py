"""The picture of temporal self-similarity: its cells, the bins of long videos, and its errors."""

import math

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.config import TsmConfig
from pipeline.errors import PipelineError
from pipeline.plots.figures import literal, picture_files
from pipeline.plots.tsm import bin_rows, tsm_view
from pipeline.plots.tsm_figure import _lanes, draw_tsm
from sola.config import SolaConfig, config_to_dict
from tests.stores import annotate, make_store


def turning(count: int, channels: int = 4) -> np.ndarray:
    """Return rows that turn by ten degrees a step in a plane, with growing length."""
    angle = np.radians(10 * np.arange(count))
    rows = np.zeros((count, channels), dtype=np.float32)
    rows[:, 0], rows[:, 1] = np.cos(angle), np.sin(angle)
    return rows * np.arange(1, count + 1)[:, None]


def view_of(store, *more, video="a", **options):
    annotations = options.pop("annotations", None)
    return tsm_view([store, *more], video, TsmConfig(**options), annotations_file=annotations)


def test_cells_hold_similarities_and_lie_at_the_snippets_seconds(tmp_path):
    (tsm,) = view_of(make_store(tmp_path / "s", {"a": turning(20)})).tsms
    for i, j in ((0, 0), (2, 5), (19, 1)):
        assert tsm.matrix[i, j] == pytest.approx((1 + math.cos(math.radians(10 * (i - j)))) / 2, abs=1e-6)
    # Row 0's center is 0.5 s, rows are 0.5 s apart: its cell is [0.25, 0.75), the last one's ends at 10.25 s.
    assert (tsm.bin_snippets, tsm.bin_seconds) == (1, 0.5)
    assert (tsm.start_seconds, tsm.end_seconds) == (0.25, 10.25)


def test_a_long_video_is_binned_to_mean_directions(tmp_path):
    (tsm,) = view_of(make_store(tmp_path / "s", {"a": turning(11)}), max_bins=4).tsms
    assert tsm.bin_snippets == 3
    assert tsm.matrix.shape == (4, 4)
    # Means of turning unit vectors point to the middle of their bin: 10, 40, 70 and (two rows) 95 degrees.
    middle = np.radians([10, 40, 70, 95])
    np.testing.assert_allclose(tsm.matrix, (1 + np.cos(middle[:, None] - middle)) / 2, atol=1e-6)
    assert (tsm.bin_seconds, tsm.end_seconds) == (1.5, 5.75)


@pytest.mark.parametrize("centred", [False, True])
def test_bins_do_not_depend_on_how_rows_are_read(monkeypatch, centred):
    rows = np.random.default_rng(0).normal(1, 1, (103, 5)).astype(np.float32)
    monkeypatch.setattr("pipeline.plots.tsm._CHUNK_ROWS", 20)
    shifted = rows.astype(np.float64) - (rows.mean(axis=0, dtype=np.float64) if centred else 0)
    unit = shifted / np.linalg.norm(shifted, axis=1, keepdims=True)
    expected = [unit[start : start + 7].mean(axis=0) for start in range(0, 103, 7)]
    np.testing.assert_allclose(bin_rows(rows, 7, centred=centred), expected, atol=1e-6)


def test_the_target_is_that_of_the_fitted_settings_in_the_cells_of_the_picture(tmp_path):
    plain = make_store(tmp_path / "s", {"a": turning(12)})
    settings = {
        "settings": config_to_dict(SolaConfig(target_sharpness=9.0, position_stride=3, window_snippets=30)),
        "module_sha256": "0",
    }
    enhanced = make_store(tmp_path / "e", {"a": turning(12)}, sola=settings)
    # Published: K = 16, step 2. Four snippets are two steps: sigmoid(16 / 4).
    assert view_of(plain).target[0, 4] == pytest.approx(1 / (1 + math.exp(-4)))
    # Two bins of three snippets are two steps of three.
    target = view_of(plain, enhanced, max_bins=4).target
    assert target[1, 3] == pytest.approx(1 / (1 + math.exp(-9 / 4)))
    assert target[2, 2] == 1


def test_an_unknown_video_is_refused_with_the_nearest_ids(tmp_path):
    store = make_store(tmp_path / "s", {"video_01": turning(3), "video_02": turning(3), "other": turning(3)})
    with pytest.raises(PipelineError, match=r"got 'vdeo_01'; nearest: video_01, video_02"):
        view_of(store, video="vdeo_01")
    with pytest.raises(PipelineError, match="nearest: other"):
        view_of(store, video="zzz")


def test_a_video_without_snippets_is_refused(tmp_path):
    store = make_store(tmp_path / "s", {"a": turning(0)})
    with pytest.raises(PipelineError, match="shorter than a snippet"):
        view_of(store)


def test_segments_of_the_video_come_from_the_annotations(tmp_path):
    store = make_store(tmp_path / "s", {"a": turning(20), "b": turning(20)})
    file = annotate(tmp_path / "t.json", {"a": ("training", 10, [(1, 3, "jump"), (4, 6, "run")])})
    assert [s.label for s in view_of(store, annotations=file).segments] == ["jump", "run"]
    other = view_of(store, video="b", annotations=file)
    assert other.segments == ()
    assert "has no video 'b'" in other.notes[0]


def test_features_that_are_nearly_parallel_are_told(tmp_path):
    parallel = make_store(tmp_path / "p", {"a": 100 + turning(30)})
    assert "--normalize center" in view_of(parallel).notes[0]
    assert view_of(parallel, normalize="center").notes == ()
    assert view_of(make_store(tmp_path / "s", {"a": turning(30)})).notes == ()


def test_overlapping_segments_lie_in_lanes_of_their_own(tmp_path):
    spans = [(0, 10, "x"), (2, 4, "x"), (3, 5, "y"), (4, 6, "x"), (10, 12, "x")]
    store = make_store(tmp_path / "s", {"a": turning(30)})
    segments = view_of(store, annotations=annotate(tmp_path / "t.json", {"a": ("t", 15, spans)})).segments
    assert [(*s.segment, lane) for s, lane in zip(segments, _lanes(segments), strict=True)] == [
        (0, 10, 0), (2, 4, 1), (3, 5, 2), (4, 6, 1), (10, 12, 0),
    ]  # fmt: skip


def test_the_picture_shows_both_stores_the_change_and_the_target(tmp_path):
    rows = turning(20)
    one = make_store(tmp_path / "one", {"a": rows})
    two = make_store(tmp_path / "two", {"a": rows[::-1].copy()}, sola={"settings": config_to_dict(SolaConfig())})
    file = annotate(tmp_path / "t.json", {"a": ("training", 10, [(1, 3, "jump"), (4, 6, "run")])})
    figure = draw_tsm(view_of(one, two, annotations=file))
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) == 4
    before, after, change, target = (np.asarray(image.get_array()) for image in images)
    np.testing.assert_array_equal(change, after - before)
    assert target[0, 19] < 0.6 < target[0, 1]
    # Each in its own range, without the diagonal: snippets next to each other are the most alike.
    for image, matrix in zip(images[:2], (before, after), strict=True):
        off = matrix[np.triu_indices(20, 1)]
        assert image.get_clim() == pytest.approx(np.percentile(off, [1, 99.5]), abs=1e-6)
    strip = images[0].axes.child_axes[0]
    assert [(bar.get_x(), bar.get_width()) for bar in strip.patches] == [(1, 2), (4, 2)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["jump", "run"]
    assert len([axes for axes in draw_tsm(view_of(one)).axes if axes.images]) == 2


def test_snippets_at_the_ends_do_not_take_the_range_of_colors(tmp_path):
    rows = 20 + turning(40)
    odd = rows.copy()
    odd[:2], odd[-2:] = -odd[:2], -odd[-2:]
    plain, other = make_store(tmp_path / "s", {"a": rows}), make_store(tmp_path / "e", {"a": odd})
    limits = []
    for stores in ((plain, plain), (plain, other)):
        figure = draw_tsm(view_of(*stores))
        limits.append([axes.images[0].get_clim() for axes in figure.axes if axes.images][:3])
    assert limits[0] == limits[1]


@pytest.mark.parametrize("count", [1, 2])
def test_the_shortest_videos_can_be_drawn(tmp_path, count):
    draw_tsm(view_of(make_store(tmp_path / "s", {"a": turning(count)}))).draw_without_rendering()


def test_the_command_writes_png_and_svg_unless_a_suffix_is_given(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    make_store(tmp_path / "s", {"$a_b$": turning(8)})
    file = annotate(tmp_path / "t.json", {"$a_b$": ("training", 4, [(1, 3, "_$x")])})
    words = ["tsm", str(tmp_path / "s"), "--video", "$a_b$", "--annotations", str(file), "--out"]
    for out, written in (("both", ["both.png", "both.svg"]), ("only.svg", ["only.svg"])):
        with pytest.raises(SystemExit) as info:
            main([*words, str(tmp_path / out)])
        assert (info.value.code or 0) == 0
        assert capsys.readouterr().out == "".join(f"written: {tmp_path / name}\n" for name in written)
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "both.svg").read_bytes().startswith(b"<?xml")
    assert not (tmp_path / "only.png").exists()


def test_a_picture_of_another_kind_is_refused(tmp_path):
    with pytest.raises(PipelineError, match=r"must end in \.png, \.svg, \.pdf"):
        picture_files(tmp_path / "a.jpg")


def test_words_are_shown_as_they_are():
    assert literal("_a$b$") == r" _a\$b\$"
