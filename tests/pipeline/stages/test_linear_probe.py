"""Linear evaluation of stores: which snippets are foreground, which videos are compared, what is written."""

import json
from fractions import Fraction

import numpy as np
import pytest

from pipeline.annotations import VideoAnnotations
from pipeline.annotations.segments import Segment
from pipeline.cli import main
from pipeline.config import ProbeConfig
from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan
from pipeline.stages.linear_probe import _labeled, inside, probe, snippet_centers
from tests.stores import PLAN, annotate, make_store

QUICK = ProbeConfig(seeds=(0, 1), distances=(1, 2))
SEGMENTS = [(3.0, 8.0, "x")]  # centers are at 0.5, 1, 1.5, … seconds: rows 5 to 14 of 20 are foreground
FOREGROUND = np.array([0] * 5 + [1] * 10 + [0] * 5)


def telling(seed: int, contrast: float) -> np.ndarray:
    """Twenty noisy rows of 6 channels, of which one tells foreground from background."""
    rows = np.random.default_rng(seed).normal(0, 1, (20, 6)).astype(np.float32)
    rows[:, 0] += contrast * (2 * FOREGROUND - 1)
    return rows


def two_stores(tmp_path):
    names = {name: number for number, name in enumerate("abcd")}
    good = make_store(tmp_path / "good", {name: telling(n, 6) for name, n in names.items()})
    poor = make_store(tmp_path / "poor", {name: telling(n, 0) for name, n in names.items()})
    subsets = dict(zip("abcd", ["training", "training", "training", "validation"], strict=True))
    return good, poor, annotate(tmp_path / "t.json", {i: (s, 10, SEGMENTS) for i, s in subsets.items()})


def test_a_snippet_is_foreground_when_its_center_is():
    plan = SnippetPlan(fps=Fraction(30), window_frames=Fraction(64), stride_frames=Fraction(16), num_frames=8)
    centers = snippet_centers(plan, 4)
    np.testing.assert_allclose(centers, [32 / 30, 48 / 30, 64 / 30, 80 / 30])
    # The start belongs to a segment, the end does not; segments may overlap.
    segments = [Segment((1.6, 2.0), "x"), Segment((1.7, 80 / 30), "y")]
    assert inside(centers, segments).tolist() == [False, True, True, False]
    assert not inside(centers, []).any()


def test_ambiguous_snippets_are_left_out_without_making_a_boundary(tmp_path):
    rows = telling(0, 1)
    store = make_store(tmp_path / "s", {"a": rows})
    segments, unclear = (Segment((3.0, 4.0), "x"),), (Segment((3.5, 6.0), "Ambiguous"),)
    pieces = list(_labeled(store, VideoAnnotations("a", "training", 10, None, segments, unclear)))
    # Centers 4.0 to 5.5 are ambiguous alone: rows 7 to 10. What is also in a segment stays foreground.
    assert [len(piece.foreground) for piece in pieces] == [7, 9]
    np.testing.assert_array_equal(pieces[0].features, rows[:7])
    np.testing.assert_array_equal(pieces[1].features, rows[11:])
    assert pieces[0].foreground.tolist() == [False] * 5 + [True] * 2
    assert not pieces[1].foreground.any()


def test_features_that_tell_score_high_and_noise_does_not(tmp_path):
    good, poor, truth = two_stores(tmp_path)
    result = probe([good, poor], truth, QUICK)
    high, low = (store.scores for store in result.stores)
    assert high.accuracy.mean == high.average_precision.mean == 1
    assert low.accuracy.mean < 0.8
    assert (high.majority, high.accuracy.snippets, result.videos) == (0.5, 20, (3, 1))
    # Two boundaries: two rows beside each are within 1, four within 2; twelve are away.
    assert high.near[1] is not None
    assert high.near[2] is not None
    assert high.away is not None
    assert (high.near[1].snippets, high.near[2].snippets, high.away.snippets) == (4, 8, 12)


def test_the_same_call_gives_the_same_figures(tmp_path):
    _, poor, truth = two_stores(tmp_path)
    assert probe([poor], truth, QUICK).as_json() == probe([poor], truth, QUICK).as_json()


def test_stores_are_compared_on_the_videos_that_all_have(tmp_path):
    good, _, truth = two_stores(tmp_path)
    fewer = make_store(tmp_path / "fewer", {name: telling(n, 6) for n, name in enumerate("abd")})
    result = probe([good, fewer], truth, QUICK)
    assert result.videos == (2, 1)
    assert any("1 video of" in note for note in result.notes)
    assert result.stores[0].scores == result.stores[1].scores


def test_of_too_many_videos_always_the_same_are_taken(tmp_path):
    good, _, truth = two_stores(tmp_path)
    config = ProbeConfig(seeds=(0,), max_videos=2)
    result = probe([good], truth, config)
    assert result.videos == (2, 1)
    assert any("of 3 training videos 2 are used" in note for note in result.notes)
    assert probe([good], truth, config).as_json() == result.as_json()


def test_streams_are_brought_to_unit_length_each_by_itself(tmp_path):
    # The second stream is long and carries no signal; the first, short one does.
    loud = np.random.default_rng(9).normal(0, 1e4, (4, 20, 6)).astype(np.float32)
    videos = {name: np.concatenate([telling(n, 6), loud[n]], axis=1) for n, name in enumerate("abcd")}
    store = make_store(tmp_path / "two_streams", videos)
    _, _, truth = two_stores(tmp_path)
    together = probe([store], truth, ProbeConfig(seeds=(0,)))
    apart = probe([store], truth, ProbeConfig(seeds=(0,), stream_channels=(6, 6)))
    assert apart.stores[0].scores.accuracy.mean > 0.95 > together.stores[0].scores.accuracy.mean


def test_nearly_parallel_features_are_told_apart_when_centerd(tmp_path):
    _, _, truth = two_stores(tmp_path)
    store = make_store(tmp_path / "parallel", {name: telling(n, 6) + 3000 for n, name in enumerate("abcd")})
    raw, centred = (
        probe([store], truth, ProbeConfig(seeds=(0,), normalize=comparison)).stores[0].scores.accuracy.mean
        for comparison in ("none", "center")
    )
    assert raw < 0.7
    assert centred == 1


def test_a_subset_without_features_is_refused(tmp_path):
    good, _, _ = two_stores(tmp_path)
    truth = annotate(tmp_path / "u.json", {"a": ("training", 10, SEGMENTS), "z": ("validation", 10, SEGMENTS)})
    with pytest.raises(PipelineError, match="no video of subset 'validation'"):
        probe([good], truth, QUICK)


def test_the_command_prints_stores_side_by_side_and_writes_json(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    good, poor, truth = two_stores(tmp_path)
    words = ["linear-probe", str(poor.path), "--annotations", str(truth), "--compare", str(good.path)]
    words += ["--seeds", "0", "1", "--distances", "1", "2", "--out", str(tmp_path / "r.json")]
    with pytest.raises(SystemExit) as info:
        main(words)
    assert (info.value.code or 0) == 0
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if "accuracy within 1" in line]
    assert line.split("│")[3].strip() == "100.0 ± 0.0"
    value = json.loads((tmp_path / "r.json").read_text())
    assert [store["path"] for store in value["stores"]] == [str(poor.path), str(good.path)]
    assert value["stores"][1]["scores"]["accuracy_within_1"] == {"mean": 1.0, "deviation": 0.0, "snippets": 4}
    assert (value["training_videos"], value["settings"]["seeds"]) == (3, [0, 1])


def test_rows_and_durations_of_the_made_stores_agree():
    assert PLAN.count(Fraction(10)) == 20
