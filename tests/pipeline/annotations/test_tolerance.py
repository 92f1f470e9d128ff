"""Segments that lie beyond their video: where they stop a command, and where they do not."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from pipeline.annotations import fit_to_durations, read_annotations
from pipeline.annotations.detections import write_detections
from pipeline.annotations.segments import Detection
from pipeline.config import ProbeConfig, RunConfig
from pipeline.errors import PipelineError
from pipeline.exports.config import ExportConfig
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.metrics.config import EvaluateConfig
from pipeline.pretraining.config import PretrainConfig
from pipeline.stages.evaluate import evaluate
from pipeline.stages.run import run
from pipeline.stages.train import train
from tests.stores import annotate, make_store

TINY = TrainConfig(
    epochs=1,
    min_steps_per_epoch=1,
    device="cpu",
    head=HeadConfig(kind="actionness", embed_dim=8, stem_blocks=1, tower_layers=0),
)
GOOD, FAR = (2.0, 6.0, "x"), (8.0, 13.0, "x")  # of 10 s


def annotated(tmp_path, **videos):
    """Annotations of id=(subset, segments), each video 10 s long."""
    return annotate(tmp_path / "annotations.json", {i: (subset, 10.0, rows) for i, (subset, rows) in videos.items()})


def test_only_the_subset_that_is_evaluated_counts(tmp_path):
    file = annotated(tmp_path, a=("training", [GOOD, FAR]), b=("Validation", [GOOD]))
    write_detections(tmp_path / "found.json", {"b": [Detection((2.0, 6.0), "x", 0.9)]})
    for protocol in ("sola", "activitynet"):
        result = evaluate(tmp_path / "found.json", file, EvaluateConfig(protocol=protocol))
        assert result.results["activitynet"].average == 1
        assert result.notes[0].startswith("1 fault in subsets that are not in use, left out (video 'a', segment 1: [8")
    for subset in ("training", "all"):
        with pytest.raises(
            PipelineError, match=r"video 'a', segment 1: \[8.0, 13.0\] ends after .* allow more \(--tolerance-seconds"
        ):
            evaluate(tmp_path / "found.json", file, EvaluateConfig(subset=subset))
    write_detections(tmp_path / "found.json", {"a": [Detection((2.0, 6.0), "x", 0.9)]})
    wide = evaluate(tmp_path / "found.json", file, EvaluateConfig(subset="train", tolerance_seconds=3))
    assert wide.results["activitynet"].average == 0.5


def test_only_the_subsets_that_training_uses_count(tmp_path):
    store = make_store(tmp_path / "store", {name: np.ones((20, 4), np.float32) for name in "abc"})
    file = annotated(tmp_path, a=("training", [GOOD]), b=("validation", [GOOD]), c=("testing", [FAR]))
    summary = train(store, file, tmp_path / "model", TINY)
    assert (summary.training_videos, summary.validation_videos) == (1, 1)
    assert "1 fault in subsets that are not in use, left out (video 'c'" in summary.notes[0]
    file = annotated(tmp_path, a=("training", [GOOD, FAR]), b=("validation", [GOOD]))
    with pytest.raises(PipelineError, match=r"video 'a', segment 1: .* remove the segment, or allow more"):
        train(store, file, tmp_path / "model", TINY)
    summary = train(store, file, tmp_path / "wide", replace(TINY, tolerance_seconds=3.0))
    assert any(note.startswith("1 segment clipped to its video (a [8, 13] x") for note in summary.notes)


def test_measured_durations_stop_only_the_subsets_in_use(tmp_path):
    file = annotated(tmp_path, a=("training", [GOOD, (8.0, 9.5, "x")]), b=("validation", [GOOD]))
    annotations = read_annotations(file)
    kept = fit_to_durations(annotations, {"a": 7.0, "b": 7.0}, subsets=("val",))
    assert [segment.segment for segment in kept.videos["a"].segments] == [(2.0, 6.0)]
    assert kept.videos["a"].duration == 7.0
    with pytest.raises(PipelineError, match=r"against the videos: video 'a': \[8.0, 9.5\] ends after"):
        fit_to_durations(annotations, {"a": 7.0, "b": 7.0}, subsets=("val", "train"))


def test_other_faults_of_subsets_that_are_not_in_use_are_notes_too(tmp_path):
    backwards, unnamed = (5.0, 2.0, "x"), (1.0, 2.0, "")
    file = annotated(tmp_path, a=("training", [backwards, unnamed, GOOD]), b=("validation", [GOOD]))
    annotations = read_annotations(file, subsets=("validation",))
    assert [len(video.segments) for video in annotations.videos.values()] == [1, 1]
    assert annotations.problems[0].startswith("2 faults in subsets that are not in use, left out")
    with pytest.raises(PipelineError, match=r"\(and 1 more fault in this file\)"):
        read_annotations(file)


def test_commands_mind_only_the_segments_that_they_are_asked_for(tmp_path, command):
    store = make_store(tmp_path / "store", {name: np.ones((20, 4), np.float32) for name in "abc"}).path
    file = annotated(tmp_path, a=("training", [GOOD]), b=("validation", [GOOD]), c=("testing", [GOOD, FAR]))
    given = ("--annotations", file)
    fault = "1 fault {}left out (video 'c', segment 1: [8.0, 13.0] ends after the video's duration, 10 s, by 3 s"
    code, said, _ = command("export", store, *given, "--out", tmp_path / "e", "--to", "opentad")
    assert (code, fault.format("in subsets that are not in use, ") in said) == (0, True)
    chosen = ("export", store, *given, "--out", tmp_path / "f", "--to", "opentad", "--val", "testing")
    code, _, error = command(*chosen)
    assert (code, "video 'c', segment 1" in error, "allow more (--tolerance-seconds)" in error) == (2, True, True)
    code, said, _ = command(*chosen, "--tolerance-seconds", 3)
    assert (code, "1 segment clipped to its video (c [8, 13] x)" in said) == (0, True)
    code, said, error = command("verify", store, *given)
    assert (code, "0 problems" in said, fault.format("") in error) == (0, True, True)
    code, said, error = command("tsm", store, *given, "--video", "c", "--out", tmp_path / "c.svg")
    assert (code, fault.format("") in error) == (0, True)
    features = tmp_path / "store" / "features"
    frames = ("--fps", 30, "--stride-frames", 15, "--window-frames", 15)
    code, _, error = command("import", features, *given, "--out", tmp_path / "again", *frames)
    assert (code, fault.format("") in error) == (0, True)
    code, said, _ = command("annotations", file)  # asked for all
    assert (code, fault.format("") in said) == (1, True)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused(seconds):
    for config in (EvaluateConfig, ProbeConfig, TrainConfig, PretrainConfig, partial(ExportConfig, to="gtad")):
        with pytest.raises(PipelineError, match="tolerance_seconds must be >= 0, got"):
            config(tolerance_seconds=seconds)


@pytest.mark.parametrize("subset", ["training", "validation"])
def test_run_refuses_a_fault_before_it_extracts(tmp_path, subset):
    file = annotated(tmp_path, a=("training", [GOOD]), b=("validation", [GOOD]), c=(subset, [FAR]))
    config = RunConfig(videos=(tmp_path / "no videos",), out=tmp_path / "out", annotations=file)
    with pytest.raises(PipelineError, match=r"video 'c', segment 0: \[8.0, 13.0\] ends after"):
        run(config, say=print)
    wide = replace(config, train=TrainConfig(tolerance_seconds=3))
    with pytest.raises(PipelineError, match="video 'c', segment 0" if subset == "validation" else "no videos"):
        run(wide, say=print)
