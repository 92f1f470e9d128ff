"""The rows of TAC and TSP, and the starts of their clips."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from pipeline.annotations import VideoAnnotations
from pipeline.annotations.segments import Segment
from pipeline.errors import PipelineError
from pipeline.pretraining.tsp_config import TspConfig
from pipeline.pretraining.tsp_rows import (
    ClipGrid,
    Row,
    even_starts,
    numbered,
    rows_in_words,
    rows_of_video,
    training_starts,
    videos_held_out,
)

GRID = ClipGrid(fps=Fraction(15), window=16)  # as published: a clip is 16/15 s
PUBLISHED = TspConfig(short_segments="drop")


def video(*segments: tuple[float, float, str], ambiguous: tuple[tuple[float, float], ...] = ()) -> VideoAnnotations:
    known = tuple(Segment((start, end), label) for start, end, label in segments)
    unsure = tuple(Segment(span, "Ambiguous") for span in ambiguous)
    return VideoAnnotations("v", "training", None, None, known, unsure)


def rows_of(annotated: VideoAnnotations, duration: float, config: TspConfig = PUBLISHED) -> tuple[list[Row], Counter]:
    return rows_of_video(annotated, Fraction(str(duration)), GRID, config, with_gaps=True)


def test_rows_of_a_video_worked_by_hand():
    # Two overlapping segments of different classes, and a later one; the gap from 9 to 9.5 is shorter than a clip.
    annotated = video((2.0, 6.0, "dive"), (5.0, 9.0, "jump"), (9.5, 12.0, "dive"), (2.0, 6.0, "dive"))
    rows, counts = rows_of(annotated, 20.0)
    assert [(row.label, row.span) for row in rows] == [
        (None, (0.0, 2.0)),
        ("dive", (2.0, 6.0)),
        ("jump", (5.0, 9.0)),
        ("dive", (9.5, 12.0)),
        (None, (12.0, 20.0)),
    ]
    # Cells with their middle in [2, 6): 30 (2.03 s) to 89 (5.97 s): 60 cells, so 45 starts.
    assert (rows[1].first, rows[1].spare) == (30, 44)
    assert {name: number for name, number in counts.items() if number} == {"segments": 3, "gaps": 2, "short gaps": 1}


def test_segments_and_gaps_cover_the_video_but_for_dropped_ones_and_no_gap_meets_a_segment():
    rng = np.random.default_rng(0)
    for _ in range(50):
        edges = np.round(np.sort(rng.uniform(0, 60, 2 * int(rng.integers(1, 8)))), 2)
        spans = [(float(a), float(b)) for a, b in edges.reshape(-1, 2) if b > a]
        spans += [(a, b + 3.0) for a, b in spans[:1]]  # overlaps what follows
        rows, counts = rows_of(video(*((a, b, "x") for a, b in spans)), 55.5, TspConfig(short_segments="center"))
        tenth_cells = np.arange(0, 5550) / 100 + 0.005
        foreground, background = (
            np.any([(a <= tenth_cells) & (tenth_cells < b) for a, b in of_side] or [tenth_cells < 0], axis=0)
            for of_side in (
                [row.span for row in rows if row.label], [row.span for row in rows if row.label is None]
            )
        )  # fmt: skip
        assert not (foreground & background).any()
        uncovered = int((~foreground & ~background).sum()) / 100
        assert uncovered <= counts["short gaps"] * 16 / 15
        if not counts["short gaps"]:
            assert uncovered == 0
        inside = np.any([(a <= tenth_cells) & (tenth_cells < b) for a, b in spans], axis=0)
        np.testing.assert_array_equal(foreground, inside)  # nothing is dropped, nothing is invented


def test_ambiguous_segments_are_no_gaps():
    rows, _ = rows_of(video((2.0, 6.0, "x"), ambiguous=((8.0, 30.0),)), 20.0)
    assert [row.span for row in rows] == [(0.0, 2.0), (2.0, 6.0), (6.0, 8.0)]


def test_the_least_gap_is_that_of_the_published_files():
    annotated = video((5.0, 6.0, "x"), (11.4, 13.0, "x"))  # gaps of 5, 5.4 and 7 s
    for clips, kept in ((1.0, 3), (5.0, 2)):  # 5 clips are 5.33 s
        rows, counts = rows_of(annotated, 20.0, TspConfig(min_gap_clips=clips))
        assert sum(row.label is None for row in rows) == kept == counts["gaps"]


@pytest.mark.parametrize(
    ("span", "first"),
    [
        ((10.0, 10.4), 145),  # the middle, 10.2 s, is cell 153: 8 cells before
        ((0.0, 0.4), 0),  # at the beginning
        ((19.8, 20.0), 300 - 16),  # at the end
    ],
)
def test_a_short_segment_gets_a_clip_around_its_middle_within_the_video(span, first):
    rows, counts = rows_of(video((*span, "x")), 20.0, TspConfig())
    [row] = [row for row in rows if row.label]
    assert (row.first, row.spare) == (first, 0)
    assert (counts["segments"], counts["centered"]) == (1, 1)
    dropped, counts = rows_of(video((*span, "x")), 20.0, PUBLISHED)
    assert not any(row.label for row in dropped)
    assert (counts["segments"], counts["short segments"]) == (0, 1)


def test_a_segment_as_long_as_a_clip_is_not_short_wherever_it_begins():
    for start in np.arange(0, 3, 0.013):
        end = Fraction(str(round(start, 3))) + Fraction(16, 15)
        _, counts = rows_of(video((round(start, 3), float(end) + 1e-9, "x")), 20.0)
        assert counts["short segments"] == 0


def test_segments_are_cut_to_the_file_and_those_behind_its_end_are_counted():
    rows, counts = rows_of(video((5.0, 99.0, "x"), (30.0, 40.0, "y")), 20.0)
    assert [row.span for row in rows] == [(0.0, 5.0), (5.0, 20.0)]
    assert counts["beyond the end"] == 1


def test_without_gaps_only_the_segments_are_rows():
    rows, _ = rows_of_video(video((5.0, 9.0, "x")), Fraction(20), GRID, TspConfig(), with_gaps=False)
    assert [row.label for row in rows] == ["x"]


def test_every_frame_of_every_clip_lies_in_its_row_for_many_seeds():
    rows, _ = rows_of(video((2.03, 6.77, "x"), (7.9, 8.98, "y"), (11.111, 30.3, "z")), 41.7)
    rows = numbered(rows)
    for row in rows:
        seen = set()
        for seed in range(40):
            for epoch in range(5):
                seen.update(training_starts(row, seed=seed, epoch=epoch, count=5))
        for start in (*seen, *even_starts(row, count=5)):
            middles = (np.arange(start, start + 16) + 0.5) / 15
            assert row.span[0] <= middles[0]
            assert middles[-1] < row.span[1]
        if row.spare < 60:  # 1000 draws reach both ends
            assert (min(seen), max(seen)) == (row.first, row.first + row.spare)


def test_validation_starts_are_even_with_both_ends():
    row = Row("v", "x", (2.0, 6.0), first=30, spare=44)
    assert even_starts(row, count=5) == [30, 41, 52, 63, 74]
    assert even_starts(Row("v", "x", (2.0, 6.0), 30, 45), count=5) == [30, 41, 53, 64, 75]  # 11.25, 22.5, 33.75
    assert even_starts(row, count=1) == [52]
    assert even_starts(Row("v", "x", (0.0, 1.0), 7, 0), count=3) == [7, 7, 7]


def test_other_epochs_rows_and_seeds_draw_other_starts_and_equal_ones_the_same():
    rows = numbered([Row("v", "x", (0.0, 100.0), 0, 1400)] * 20)

    def drawn(seed: int, epoch: int) -> list[list[int]]:
        return [training_starts(row, seed=seed, epoch=epoch, count=5) for row in rows]

    assert drawn(0, 0) == drawn(0, 0)
    different = [tuple(starts) for seed in (0, 1) for epoch in (0, 1, 2) for starts in drawn(seed, epoch)]
    assert len(set(different)) == len(different) == 120
    # Uniform: the mean of 600 draws is within 5 standard errors of the middle.
    assert abs(np.mean(different) - 700) < 5 * 1400 / np.sqrt(12 * 600)


def test_each_class_keeps_a_video_to_learn_from():
    rows = [Row(f"v{n}", label, (0.0, 5.0), 0, 10) for n in range(10) for label in ("a", None)]
    rows += [Row("v3", "rare", (0.0, 5.0), 0, 10)]
    chosen = {videos_held_out(rows, share=0.3, seed=seed) for seed in range(30)}
    assert all(len(one.validation) == 3 and "v3" not in one.validation for one in chosen)
    assert all(one.one_sided == ("rare",) for one in chosen)
    assert len(chosen) > 5
    assert videos_held_out(rows, share=0.3, seed=1) == videos_held_out(rows, share=0.3, seed=1)


def test_what_cannot_be_split_is_refused_in_words():
    with pytest.raises(PipelineError, match=r"no video of the 2 training videos .*only segments of a class \(a, b\)"):
        videos_held_out([Row("v", "a", (0.0, 5.0), 0, 1), Row("w", "b", (0.0, 5.0), 0, 1)], share=0.5, seed=0)
    with pytest.raises(PipelineError, match=r"no video of the 1 training video can .*: it is one; annotate"):
        videos_held_out([Row("v", None, (0.0, 5.0), 0, 1)], share=0.5, seed=0)
    with pytest.raises(PipelineError, match="validation_share must be > 0 and < 1, got 1"):
        videos_held_out([], share=1.0, seed=0)


def test_what_became_of_segments_and_gaps_is_said():
    _, counts = rows_of(video((2.0, 6.0, "x"), (6.5, 6.9, "x"), (50.0, 60.0, "x")), 20.0, TspConfig())
    assert rows_in_words(counts, TspConfig()) == (
        "2 segments (1 shorter than a clip, taken around the middle, 1 more behind the end of the video left out), "
        "2 gaps (1 more shorter than 1 x a clip left out)"
    )
    assert rows_in_words(Counter(), TspConfig()) == "none"


def test_bad_settings_are_refused():
    with pytest.raises(PipelineError, match="clips_per_row must be >= 1, got 0"):
        TspConfig(clips_per_row=0)
    with pytest.raises(PipelineError, match=r"min_gap_clips must be >= 1, got 0\.5"):
        TspConfig(min_gap_clips=0.5)
