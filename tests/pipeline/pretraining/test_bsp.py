"""Boundary-sensitive pretraining as a task: its clips, the command's record, exact resume, features, bad input."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.pretraining.bsp import BspTask, plan_bsp
from pipeline.pretraining.bsp_config import BspConfig
from pipeline.pretraining.bsp_made import MadeClips
from pipeline.pretraining.bsp_plan import TYPES
from pipeline.pretraining.clips import Clip
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.task import Request
from pipeline.stages.extract import extract
from pipeline.stages.pretrain import pretrain, start_of
from sola.distributed import ALONE, Team
from tests import videos as make
from tests.pipeline.pretraining.bsp_videos import SPEC, squares, write_clips
from tests.pipeline.pretraining.test_pretrain import bars
from tests.stores import annotate

CONFIG = PretrainConfig(task="bsp", batch_size=6, device="cpu", bsp=BspConfig(test_clips=12))
QUICK = replace(CONFIG, size=32, epochs=2, precision="fp32", validation_share=0.4)


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> BspTask:
    folder = tmp_path_factory.mktemp("small")
    sides = [
        MadeClips(write_clips(folder / side, squares(videos=3, seed=seed)), SPEC, CONFIG, side)
        for seed, side in enumerate(("training", "held-out"))
    ]
    return BspTask(sides, SPEC, CONFIG, {})


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for label in ("lying", "upright"):
        for group in range(5):
            path = folder / label / f"v_{label}_g{group:02}_c01.mp4"
            make.constant(path, 20 if group == 0 else 40, 30, size=(48, 64), draw=bars(label == "upright"))
    return folder


def test_an_epoch_is_whole_batches_of_the_planned_types_and_the_same_again(task):
    assert (task.samples, task.steps_per_epoch) == ((9, 9), 2)  # 9 videos: 2 batches of 6
    first, again = list(task.batches(3, ALONE)), list(task.batches(3, ALONE))
    assert [tuple(batch.pixels.shape) for batch in first] == [(6, 8, 16, 16, 3)] * 2
    types = sorted(torch.cat([batch.targets["type"] for batch in first]).tolist())
    assert types == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert all(torch.equal(one.pixels, two.pixels) for one, two in zip(first, again, strict=True))
    other = next(iter(task.batches(4, ALONE)))
    assert not torch.equal(first[0].pixels, other.pixels)
    halves = [list(task.batches(3, Team(rank, 2))) for rank in range(2)]
    for whole, one, two in zip(first, *halves, strict=True):
        assert torch.equal(whole.pixels, torch.cat([one.pixels, two.pixels]))
        assert (one.share, two.share) == (0.5, 0.5)


def test_each_video_of_a_clip_has_one_view_of_its_own(tmp_path):
    """All videos are one still picture: what differs in a clip is the view."""
    picture = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    still = np.broadcast_to(picture, (64, 20, 24, 3))
    config = replace(CONFIG, bsp=BspConfig(join="cut"))
    made = MadeClips(write_clips(tmp_path, {"a": [still] * 3, "b": [still] * 3}), SPEC, config, "training")
    views = set()
    for index in range(24):
        plan, clip = made.planner.plan(0, index), made.augmented(0, index)
        views.add(clip[0].numpy().tobytes())
        boundary = plan.boundary or 4
        assert all(torch.equal(frame, clip[0]) for frame in clip[:boundary])
        assert all(torch.equal(frame, clip[-1]) for frame in clip[boundary:])
        assert torch.equal(clip[0], clip[-1]) == plan.type.endswith("speed")
        assert torch.equal(made.plain(0, index), torch.from_numpy(still[:8, 2:18, 4:20].copy()))
    assert len(views) == 24


def test_the_loss_is_the_cross_entropy_of_the_types(task):
    features = torch.randn(6, SPEC.feature_dim, generator=torch.Generator().manual_seed(0))
    task.start(torch.nn.Identity(), lambda pixels: features, torch.device("cpu"))
    batch = next(iter(task.batches(0, ALONE)))
    logits = features @ task.heads.weight.T + task.heads.bias
    targets = 0.9 * torch.eye(4)[batch.targets["type"]] + 0.1 / 4  # label smoothing
    expected = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
    assert task.losses(lambda pixels: features, batch)["type"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_accuracy_and_baseline_are_of_the_held_out_clips(task):
    """A classifier that always says "same class" is right for a quarter, and for all of one type."""
    task.start(torch.nn.Identity(), lambda pixels: pixels, torch.device("cpu"))
    with torch.no_grad():
        task.heads.weight.zero_()
        task.heads.bias.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0]))
        found = task.validate(lambda pixels: torch.zeros(len(pixels), SPEC.feature_dim))
        outcome = task.outcome(lambda pixels: torch.zeros(len(pixels), SPEC.feature_dim))
    assert found == {"accuracy": 0.25, **{name: float(name == "same_class") for name in TYPES}}
    assert next(iter(found)) == "accuracy"
    assert outcome.measures == {"accuracy": 0.25}
    assert outcome.details["baseline"] == np.mean(list(outcome.details["baseline_per_type"].values()))
    assert outcome.text.startswith(
        "accuracy on 12 made clips of held-out videos 25.0% (different class 0%, same class 100"
    )


def test_the_command_records_what_was_measured_and_resumes_exactly(clips, tmp_path):
    summary = pretrain(clips, tmp_path / "whole.safetensors", QUICK)
    assert summary.samples == (6, 4)
    assert summary.failed == {}
    record = json.loads((tmp_path / "whole.json").read_text())
    assert record["accuracy"] == summary.outcome.measures["accuracy"] == summary.history[-1]["accuracy"]
    assert set(record["per_type"]) == set(record["baseline_per_type"]) == set(TYPES)
    assert record["settings"]["bsp"]["test_clips"] == 12
    assert 0 <= record["baseline"] <= 1
    assert any("too short for speed ratio 4 (26 frames)" in note for note in record["notes"])
    assert any("tsn_r18 averages its frames" in note for note in record["notes"])
    assert (tmp_path / "whole.png").exists()

    def interrupt(done: float, text: str) -> None:
        if text.startswith("epoch 1"):
            raise KeyboardInterrupt

    out = tmp_path / "parts.safetensors"
    with pytest.raises(KeyboardInterrupt):
        pretrain(clips, out, QUICK, report=interrupt)
    with pytest.raises(PipelineError, match="is of other clips or settings"):
        pretrain(clips, out, replace(QUICK, bsp=BspConfig(join="blend", test_clips=12)))
    resumed = pretrain(clips, out, QUICK)
    assert resumed.history == summary.history
    whole, parts = load_file(tmp_path / "whole.safetensors"), load_file(out)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    again = pretrain(clips, out, QUICK)
    assert again.finished_before
    assert again.outcome == resumed.outcome


def test_its_features_stand_alone_or_beside_those_of_the_classes(clips, tmp_path):
    pretrain(clips, tmp_path / "bsp.safetensors", replace(QUICK, epochs=1))
    pretrain(clips, tmp_path / "classes.safetensors", replace(QUICK, task="classify", bsp=BspConfig(), epochs=1))
    config = ExtractConfig(
        encoder="tsn_r18", weights=str(tmp_path / "classes.safetensors"), workers=1, device="cpu", precision="fp32"
    )
    video = clips / "lying" / "v_lying_g01_c01.mp4"
    alone, _ = extract([video], tmp_path / "alone", replace(config, weights=str(tmp_path / "bsp.safetensors")))
    both, _ = extract([video], tmp_path / "both", replace(config, also_weights=str(tmp_path / "bsp.safetensors")))
    assert both.spec.stream_channels == (512, 512)
    rows, of_bsp = both.read("v_lying_g01_c01").features, alone.read("v_lying_g01_c01").features
    np.testing.assert_array_equal(rows[:, 512:], of_bsp)
    assert not np.allclose(rows[:, :512], of_bsp)


def test_annotated_segments_are_clips_too_also_where_one_stretch_has_two_classes(tmp_path):
    truth = {}
    for number in range(6):
        make.constant(tmp_path / f"v{number}.mp4", 60, 10, size=(48, 64))
        segments = [(0.5, 2.5, "dive"), (0.5, 2.5, "cliff dive"), (3.0, 5.0, "climb")]
        truth[f"v{number}"] = ("training" if number < 3 else "validation", 6.0, segments)
    config = replace(QUICK, bsp=BspConfig(speed_ratios=(2.0,), test_clips=12))
    request = Request(tmp_path, annotate(tmp_path / "a.json", truth), start_of(config).spec, config)
    made = plan_bsp(request).prepare(tmp_path / "frames", lambda done, text: None)
    sources = made._training.planner._sources
    assert sorted({source.label for source in sources}) == ["cliff dive", "climb", "dive"]
    assert len(sources) == 9
    for index in range(80):
        plan = made._training.planner.plan(0, index)
        pair = [sources[n] for n in dict.fromkeys(layer.source for frame in plan.frames for layer in frame)]
        assert len({source.file for source in pair}) == (2 if plan.type.endswith("class") else 1)


def test_bad_input_is_one_line(clips, tmp_path):
    out = tmp_path / "w.safetensors"
    with pytest.raises(PipelineError, match="background must be left out with task bsp"):
        pretrain(clips, out, replace(QUICK, background=True))
    with pytest.raises(PipelineError, match="two classes or more"):
        pretrain(clips / "lying", out, QUICK)
    with pytest.raises(PipelineError, match=r"no training clip is long enough for a change of speed.* 106 frames"):
        pretrain(clips, out, replace(QUICK, bsp=BspConfig(speed_ratios=(20.0,))))
    lines = [f"{path},{path.parent.name},{path.parent.name}" for path in sorted(clips.rglob("*.mp4"))]
    (tmp_path / "one.csv").write_text("\n".join(["path,label,group", *lines, *lines]))
    with pytest.raises(PipelineError, match="are not on both sides"):  # a class with one group
        pretrain(tmp_path / "one.csv", out, QUICK)
    one_frame = replace(start_of(QUICK).spec, num_frames=2)
    with pytest.raises(PipelineError, match="three frames or more, tsn_r18 takes 2"):
        plan_bsp(Request(clips, None, one_frame, QUICK))


def test_a_class_with_one_video_is_said(tmp_path):
    shown = squares(videos=3, seed=0)
    shown["blue"] = shown["blue"][:1]
    made = MadeClips(write_clips(tmp_path, shown), SPEC, CONFIG, "training")
    assert made.planner.unused == ("1 training class has one video, so no pair of one class",)
    lone = {label: videos[:1] for label, videos in shown.items()}
    with pytest.raises(PipelineError, match="no class has two training videos"):
        MadeClips(write_clips(tmp_path, lone), SPEC, CONFIG, "training")


def test_clips_of_one_group_are_never_a_pair_of_one_class(tmp_path):
    shown = squares(videos=4, seed=0)
    grouped = [
        (Clip(clip.path, clip.label, f"g{place % 2}"), file, frames)
        for place, (clip, file, frames) in enumerate(write_clips(tmp_path, shown))
    ]
    made = MadeClips(grouped, SPEC, CONFIG, "training")
    plans = [made.planner.plan(0, index) for index in range(200)]
    for plan in (plan for plan in plans if plan.type == "same_class"):
        assert {layer.source % 2 for frame in plan.frames for layer in frame} == {0, 1}
