"""What TSP and TAC refuse, in one line each; and the presets."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.commandline.launch import bound_command
from pipeline.errors import PipelineError
from pipeline.pretraining import tsp_plan
from pipeline.pretraining.presets import pretrain_preset
from pipeline.pretraining.task import Request
from pipeline.pretraining.trainer import EncoderTrainer
from pipeline.pretraining.tsp_plan import TspPlan
from pipeline.progress import silent
from pipeline.stages.pretrain import pretrain, start_of
from tests import videos as make
from tests.pipeline.pretraining.test_trainer import Toy
from tests.pipeline.pretraining.tsp_data import CONFIG, make_videos
from tests.stores import annotate


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> tuple[Path, Path]:
    return make_videos(tmp_path_factory.mktemp("untrimmed"), training=4)


def plan_of(data: tuple[Path, Path], *, with_region: bool = True, **changes) -> TspPlan:
    config = replace(CONFIG, task="tsp" if with_region else "tac", **changes)
    return TspPlan(Request(*data, start_of(config).spec, config), with_region=with_region)


def annotated(data: tuple[Path, Path], file: Path, segments: list[tuple[float, float, str]]) -> tuple[Path, Path]:
    """Return the videos with the same segments in each."""
    subsets = [*["training"] * 4, "validation"]
    return data[0], annotate(file, {f"v{n}": (subset, 12.0, segments) for n, subset in enumerate(subsets)})


def test_annotations_are_needed(data, tmp_path):
    for task in ("tsp", "tac"):
        with pytest.raises(PipelineError, match=f"task {task} learns from annotated segments .*give --annotations"):
            pretrain(data[0], tmp_path / "w.safetensors", replace(CONFIG, task=task))


def test_one_class_is_too_few_for_tac_and_enough_for_tsp(data, tmp_path):
    one = annotated(data, tmp_path / "one.json", [(2.0, 5.0, "x")])
    with pytest.raises(PipelineError, match=r"task tac needs segments of two classes or more, got \['x'\]"):
        plan_of(one, with_region=False)
    assert plan_of(one).facts


def test_trimmed_videos_have_nothing_to_tell_from_a_segment(data, tmp_path):
    trimmed = annotated(data, tmp_path / "trimmed.json", [(0.0, 6.0, "x"), (6.0, 12.0, "y")])
    with pytest.raises(
        PipelineError, match=r"needs gaps .* got 8 segments: trimmed clips teach it nothing; take --task"
    ):
        plan_of(trimmed)
    assert plan_of(trimmed, with_region=False).facts


def test_no_segments_are_refused(data, tmp_path):
    with pytest.raises(PipelineError, match="must have segments to learn from, got 4 gaps"):
        plan_of(annotated(data, tmp_path / "empty.json", []))


def test_a_class_of_one_video_stays_in_training(data, tmp_path):
    last = {"v4": ("validation", 12.0, [(2.0, 5.0, "x")])}
    truth = {f"v{n}": ("training", 12.0, [(2.0, 5.0, "x" if n else "rare")]) for n in range(4)}
    plan = plan_of((data[0], annotate(tmp_path / "rare.json", truth | last)))
    assert "v0" in {row.video for row in plan._parts.training}
    task = plan.prepare(tmp_path / "w.frames", silent)
    assert task.about["rows"].endswith("; the held-out videos do not show rare")
    alone = last | {f"v{n}": ("training", 12.0, [(2.0, 5.0, f"class {n}")]) for n in range(4)}
    with pytest.raises(PipelineError, match=r"no video of the 4 training videos can be held out .*class 0, class 1"):
        plan_of((data[0], annotate(tmp_path / "alone.json", alone)))


def test_a_batch_larger_than_an_epoch_is_refused(data):
    with pytest.raises(PipelineError, match=r"batch_size must be at most the \d+ clips of an epoch .*got 5000"):
        plan_of(data, batch_size=5000)


def test_a_video_shorter_than_a_clip_and_a_broken_one_are_listed_and_the_rest_is_used(tmp_path):
    folder, annotations = make_videos(tmp_path, training=5)
    make.constant(tmp_path / "v1.mp4", 5, 10, size=(48, 64))  # 0.5 s; a clip lasts 16/30 s
    (tmp_path / "v2.mp4").write_bytes(b"no video")
    plan = plan_of((folder, annotations))
    task = plan.prepare(tmp_path / "w.frames", silent)
    assert set(task.failed) == {str(tmp_path / "v1.mp4"), str(tmp_path / "v2.mp4")}
    assert "it lasts 0.50 s, a clip 0.53 s" in task.failed[str(tmp_path / "v1.mp4")]
    assert {row.video for part in plan._parts for row in part} == {"v0", "v3", "v4", "v5"}


def test_a_disk_too_small_is_seen_before_anything_is_written(data, tmp_path, monkeypatch):
    class Usage:
        free = 1000

    monkeypatch.setattr(tsp_plan.shutil, "disk_usage", lambda folder: Usage)
    with pytest.raises(
        PipelineError, match=r"the small frames need 0\.0 GB in .*, where 0\.0 GB are free; lower --size"
    ):
        plan_of(data).prepare(tmp_path / "w.frames", silent)
    assert not list((tmp_path / "w.frames").iterdir())


def test_presets_are_the_published_settings_and_other_options_override_them():
    words = ["pretrain", "v", "--annotations", "a", "--out", "w.safetensors", "--preset"]
    settings = bound_command([*words, "tsp-activitynet"])[1].arguments["settings"]
    assert (settings.task, settings.encoder, settings.tsp.min_gap_clips) == ("tsp", "r2plus1d_34", 5.0)
    assert (settings.learning_rate, settings.head_learning_rate) == (1e-4, 2e-3)
    assert settings.tsp.clips_per_row == 5
    control = bound_command([*words, "tsp-thumos14", "--task", "tac", "--learning-rate", "1e-5"])[1].arguments[
        "settings"
    ]
    assert (control.task, control.learning_rate, control.head_learning_rate) == ("tac", 1e-5, 4e-3)
    with pytest.raises(PipelineError, match="preset must be one of tsp-activitynet, tsp-thumos14, got 'x'"):
        pretrain_preset("x")


def test_the_published_rates_over_the_epochs():
    options = {name: value for name, value in pretrain_preset("tsp-activitynet").items() if name not in ("tsp",)}
    config = replace(CONFIG, **{**options, "encoder": "tsn_r18", "weights": "random", "size": 32})
    trainer = EncoderTrainer(start_of(config), Toy([0.0]), config, identity="")
    rates = [[rate * trainer._pace(epoch) for rate in trainer._rates] for epoch in (0, 1, 2, 3.99, 4, 5.99, 6, 7.99)]
    assert rates[0][0] < 1e-5  # nearly nothing at the start
    assert rates[1] == pytest.approx([1e-4 * 1.1 / 2.1, 2e-3 * 1.1 / 2.1])
    assert rates[2] == rates[3] == pytest.approx([1e-4, 2e-3])
    assert rates[4] == rates[5] == pytest.approx([1e-6, 2e-5])
    assert rates[6] == rates[7] == pytest.approx([1e-8, 2e-7])
