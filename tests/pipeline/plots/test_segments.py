"""Pictures of segments found without labels."""

from dataclasses import replace

import numpy as np

from pipeline.annotations.segments import Segment
from pipeline.config import TsmConfig
from pipeline.plots.contact_sheet import Cell, draw_contact_sheet
from pipeline.plots.figures import save_figure
from pipeline.plots.segments import draw_segments
from pipeline.plots.tsm import tsm_view
from tests.stores import make_store


def test_boundaries_are_drawn_and_a_label_keeps_its_color(tmp_path):
    rows = np.eye(3, dtype=np.float32)[np.repeat([0, 1, 2], 6)]
    view = tsm_view([make_store(tmp_path / "s", {"a": rows})], "a", TsmConfig())
    labels = ["kind 1", "kind 2", "kind 3"]
    bounds = [(0.0, 3.25), (3.25, 6.25), (6.25, 9.0)]
    segments = tuple(Segment(bound, label) for bound, label in zip(bounds, labels, strict=True))
    all_kinds = draw_segments(replace(view, segments=segments), labels)
    lines = {tuple(line.get_xdata()) for line in all_kinds.axes[0].lines}
    assert {(3.25, 3.25), (6.25, 6.25)} <= lines
    assert (0.0, 0.0) not in lines
    one_kind = draw_segments(replace(view, video_id="$a$", segments=(Segment((0.0, 9.0), "kind 3"),)), labels)

    def colors(figure):
        (legend,) = figure.legends
        handles = zip(legend.get_texts(), legend.get_patches(), strict=True)
        return {text.get_text(): patch.get_facecolor() for text, patch in handles}

    assert colors(one_kind) == {"kind 3": colors(all_kinds)["kind 3"]}
    save_figure(one_kind, [tmp_path / "a.png"])


def test_a_contact_sheet_has_a_cell_for_each_picture_and_its_caption(tmp_path):
    cells = [Cell(np.full((4, 6, 3), shade, np.uint8), f"video {shade} @ 1.0-2.0 s") for shade in range(5)]
    cells[2] = Cell(None, "a very long name of a video that nobody can read @ 1.0-2.0 s")
    figure = draw_contact_sheet("kind 1", cells)
    shown = [axes.get_images()[0].get_array()[0, 0, 0] if axes.get_images() else None for axes in figure.axes]
    assert shown == [0, 1, None, 3, 4, None, None, None]
    captions = [axes.get_title() for axes in figure.axes]
    assert captions[1] == "video 1 @ 1.0-2.0 s"
    assert captions[2].endswith("read @ 1.0-2.0 s")
    assert len(captions[2]) == 34
    save_figure(figure, [tmp_path / "one.png"])
    save_figure(draw_contact_sheet("kind 1", cells), [tmp_path / "two.png"])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
