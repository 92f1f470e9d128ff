"""Text queries: probabilities, smoothing and segments of constructed similarities, worked by hand."""

import math

import pytest
import torch

from pipeline.errors import PipelineError
from pipeline.heads.text_queries import TextQueryHead, query_probabilities, smoothed


def test_smoothing_is_a_weighted_mean_of_five_rows_and_of_fewer_at_the_ends():
    series = torch.tensor([[9.0], [0.0], [0.0], [0.0], [0.0], [18.0]])
    # Weights 1 2 3 2 1, so 9 of all rows, and 3 + 2 + 1 = 6 of the first row, 2 + 3 + 2 + 1 = 8 of the second.
    expected = [9 * 3 / 6, 9 * 2 / 8, 9 * 1 / 9, 18 * 1 / 9, 18 * 2 / 8, 18 * 3 / 6]
    torch.testing.assert_close(smoothed(series)[:, 0], torch.tensor(expected))
    torch.testing.assert_close(smoothed(torch.full((3, 2), 5.0)), torch.full((3, 2), 5.0))


def test_a_query_is_weighed_against_the_others_and_the_background():
    same = torch.tensor([[0.25, 0.25, 0.25]]).repeat(7, 1)
    torch.testing.assert_close(query_probabilities(same, 100.0), torch.full((7, 2), 1 / 3))
    # Logits 100 * (0.30, 0.28, 0.28): exp(2) against 1 and 1.
    ahead = torch.tensor([[0.30, 0.28, 0.28]]).repeat(7, 1)
    first = math.exp(2) / (math.exp(2) + 2)
    torch.testing.assert_close(query_probabilities(ahead, 100.0)[3], torch.tensor([first, (1 - first) / 2]))


def test_segments_are_where_a_query_wins():
    # Three directions: two queries and the background. Rows 10 to 19 look like query 0, rows 30 to 39 like query 1.
    head = TextQueryHead(torch.eye(3), scale=20.0).eval()
    rows = torch.zeros(1, 50, 3)
    rows[..., 2] = 7.0  # the length of a row does not matter
    rows[0, 10:20] = torch.tensor([3.0, 0.0, 0.0])
    rows[0, 30:40] = torch.tensor([0.0, 0.5, 0.0])
    [found] = head.candidates(head(rows, torch.ones(1, 50, dtype=torch.bool)), min_score=0.3)
    best = {label: found.select(found.labels == label).best(1) for label in (0, 1)}
    # At a cut the smoothed similarities are 6/9 and 3/9 on either side: the query wins on its own side only.
    torch.testing.assert_close(best[0].segments, torch.tensor([[9.5, 19.5]], dtype=best[0].segments.dtype))
    torch.testing.assert_close(best[1].segments, torch.tensor([[29.5, 39.5]], dtype=best[1].segments.dtype))
    assert min(float(one.scores) for one in best.values()) > 0.9


def test_a_video_of_background_alone_gives_nothing():
    head = TextQueryHead(torch.eye(3), scale=20.0).eval()
    rows = torch.tensor([0.0, 0.0, 1.0]).expand(1, 30, 3)
    [found] = head.candidates(head(rows, torch.ones(1, 30, dtype=torch.bool)), min_score=0.001)
    assert len(found) == 0


def test_padding_does_not_reach_the_rows_before_it():
    head = TextQueryHead(torch.eye(3), scale=20.0).eval()
    rows = torch.rand(1, 8, 3)
    mask = torch.tensor([[True] * 5 + [False] * 3])
    padded, _ = head(rows, mask)
    alone, _ = head(rows[:, :5], mask[:, :5])
    torch.testing.assert_close(padded[:, :5], alone)


def test_training_it_is_refused():
    with pytest.raises(PipelineError, match="text queries are not trained"):
        TextQueryHead(torch.eye(3), scale=1.0).loss((torch.zeros(1), torch.zeros(1)), [])
