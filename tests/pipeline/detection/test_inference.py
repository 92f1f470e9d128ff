"""Decoding to seconds, windows over long sequences, and detection in chunks."""

import itertools

import numpy as np
import pytest
import torch

from pipeline.annotations.segments import seconds_to_snippets, snippets_to_seconds
from pipeline.detection.inference import detect, windows
from pipeline.errors import PipelineError
from pipeline.heads.anchor_free import AnchorFreeHead
from pipeline.heads.candidates import Candidates, RowTimes, to_seconds
from pipeline.heads.config import HeadConfig, PostConfig

LABELS = ("a", "b")


def head_for(max_test_snippets: int) -> AnchorFreeHead:
    torch.manual_seed(0)
    config = HeadConfig(
        embed_dim=8, levels=3, block="conv", stem_blocks=1, tower_layers=1, max_test_snippets=max_test_snippets
    )
    return AnchorFreeHead(4, 2, config)


def run(head: AnchorFreeHead, chunks: list[np.ndarray], **options):
    defaults = {"times": RowTimes(0.5, 1.0, 1000.0), "labels": LABELS}
    return detect(head, chunks, **{**defaults, "post": PostConfig(min_score=0.0, max_detections=50), **options})


def test_snippet_coordinates_are_the_centers_of_the_rows() -> None:
    # Row 3 covers [1.5, 2.5) at a stride of 0.5 s and a window of 1 s.
    assert snippets_to_seconds(3, stride_seconds=0.5, window_seconds=1.0) == 2.0
    assert seconds_to_snippets(2.0, stride_seconds=0.5, window_seconds=1.0) == 3
    assert seconds_to_snippets(0.0, stride_seconds=0.5, window_seconds=1.0) == -1
    with pytest.raises(PipelineError, match="stride_seconds must be > 0, got 0"):
        seconds_to_snippets(1.0, stride_seconds=0, window_seconds=1)


def test_candidates_are_clipped_to_the_video_and_empty_ones_dropped() -> None:
    segments = torch.tensor([[-5.0, 2.0], [2.0, 100.0], [30.0, 40.0], [4.0, 4.0]], dtype=torch.float64)
    candidates = Candidates(segments, torch.arange(4), torch.rand(4))
    got = to_seconds(candidates, RowTimes(0.5, 1.0, 10.0))
    assert got.segments.tolist() == [[0.0, 1.5], [1.5, 10.0]]
    assert got.labels.tolist() == [0, 1]


def test_candidates_of_a_head_are_its_points_less_and_plus_the_distances() -> None:
    head = head_for(64).eval()
    with torch.no_grad():
        levels = head(torch.randn(1, 5, 4), torch.tensor([[True] * 3 + [False] * 2]))
    [found] = head.candidates(levels, min_score=0.0)
    # 3 + 2 + 1 valid points, two classes each.
    assert len(found) == 12
    level = levels[1]
    want = [2 - 2 * level.distances[0, 1, 0].item(), 2 + 2 * level.distances[0, 1, 1].item()]
    assert found.segments[8].tolist() == pytest.approx(want)
    assert found.scores[8:10].tolist() == pytest.approx(level.logits[0, 1].sigmoid().tolist())
    assert found.labels[8:10].tolist() == [0, 1]


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 24, 25, 100])
def test_windows_cover_every_row_and_their_owned_parts_tile_the_line(rows: int) -> None:
    sequence = np.arange(rows, dtype=np.float32)[:, None]
    made = list(windows([sequence], length=16))
    assert all(len(w.rows) <= 16 for w in made)
    assert all((w.rows[:, 0] == np.arange(w.start, w.start + len(w.rows))).all() for w in made)
    assert made[0].owned[0] == -np.inf and made[-1].owned[1] == np.inf
    assert made[-1].start + len(made[-1].rows) == rows
    for before, after in itertools.pairwise(made):
        assert before.owned[1] == after.owned[0]
        # The seam is at least a quarter of a window from the edges of both.
        assert after.start + 4 <= after.owned[0] <= before.start + 12
        assert len(after.rows) > 8


@pytest.mark.parametrize("rows", [5, 32, 33, 150])
def test_the_cut_into_chunks_changes_nothing_not_even_a_bit(rows: int) -> None:
    head = head_for(32)
    sequence = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    whole = run(head, [sequence])
    assert whole
    for cut in (1, 7, 16, 40):
        chunks = [sequence[i : i + cut] for i in range(0, rows, cut)]
        assert run(head, [*chunks, sequence[:0]]) == whole


def test_float16_rows_give_what_their_float32_values_give() -> None:
    head = head_for(32)
    half = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float16)
    assert run(head, [half]) == run(head, [half.astype(np.float32)])


def test_windows_see_what_the_whole_sequence_shows() -> None:
    # The receptive field of this head, below 32 snippets to a side, is less than a quarter window of 128, and the
    # windows start at multiples of the coarsest stride: every owned candidate is the same as from the whole.
    sequence = np.random.default_rng(1).normal(size=(400, 4)).astype(np.float32)
    post = PostConfig(min_score=0.0, nms="none", voting_tiou=0.0, pre_nms_topk=10_000, max_detections=10_000)
    whole, windowed = (run(head_for(limit), [sequence], post=post) for limit in (400, 128))
    assert len(whole) == len(windowed) == 2 * (400 + 200 + 100)

    def ordered(detections: list) -> np.ndarray:
        rows = np.array([(*d.segment, d.label == "a", d.score) for d in detections])
        return rows[np.lexsort(rows.round(4).T)]

    np.testing.assert_allclose(ordered(windowed), ordered(whole), atol=1e-4)


def test_a_duration_known_only_at_the_end_is_asked_for_after_the_last_chunk() -> None:
    seen: list[int] = []

    def chunks():
        for _ in range(3):
            seen.append(1)
            yield np.ones((4, 4), dtype=np.float32)

    def times() -> RowTimes:
        assert len(seen) == 3
        return RowTimes(0.5, 1.0, 2.0)

    detections = detect(head_for(32), chunks(), times, labels=LABELS, post=PostConfig(min_score=0.0))
    assert detections and all(0 <= d.segment[0] < d.segment[1] <= 2.0 for d in detections)


def test_detections_are_sorted_and_limited_and_named() -> None:
    detections = run(head_for(32), [np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)])
    scores = [d.score for d in detections]
    assert len(detections) == 50 and scores == sorted(scores, reverse=True)
    assert {d.label for d in detections} == {"a", "b"}


def test_unusable_input_is_refused() -> None:
    head = head_for(32)
    with pytest.raises(PipelineError, match="at least one row"):
        run(head, [])
    with pytest.raises(PipelineError, match="must be finite"):
        run(head, [np.full((3, 4), np.nan, dtype=np.float32)])
    with pytest.raises(PipelineError, match=r"features must be \[B, T, 4\]"):
        run(head, [np.zeros((3, 5), dtype=np.float32)])
    with pytest.raises(PipelineError, match="agree in channels, got 4 and then 5"):
        run(head, [np.zeros((3, 4), dtype=np.float32), np.zeros((3, 5), dtype=np.float32)])
    with pytest.raises(PipelineError, match="labels must be 2 names"):
        run(head, [np.zeros((3, 4), dtype=np.float32)], labels=("a",))
