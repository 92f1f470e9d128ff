"""TSP and TAC on small videos: the frames of clips, the global feature, steps, ranks, the kept epoch, resuming."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from encoders.catalog import catalog_entry
from encoders.loading import load_network
from encoders.trained import carried_spec, save_trained
from pipeline.extraction.config import ExtractConfig
from pipeline.pretraining.data import cells_of
from pipeline.pretraining.task import Request
from pipeline.pretraining.trainer import EncoderTrainer
from pipeline.pretraining.tsp import TspTask, random_crop
from pipeline.pretraining.tsp_config import TspConfig
from pipeline.pretraining.tsp_heads import UNLABELED
from pipeline.pretraining.tsp_plan import plan_tac, plan_tsp
from pipeline.progress import silent
from pipeline.stages.extract import extract
from pipeline.stages.pretrain import pretrain, start_of
from sola.distributed import ALONE, Team
from tests import ROOT
from tests import videos as make
from tests.pipeline.pretraining.tsp_data import CONFIG, make_videos
from tests.stores import annotate


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> tuple[Path, Path]:
    return make_videos(tmp_path_factory.mktemp("untrimmed"))


def task_of(data: tuple[Path, Path], folder: Path, plan=plan_tsp, config=CONFIG) -> TspTask:
    request = Request(data[0], data[1], start_of(config).spec, config)
    return plan(request).prepare(folder / "weights.frames", silent)


def encode(pixels: torch.Tensor) -> torch.Tensor:
    """Return features that do not depend on the batch: powers of the mean brightness of each window."""
    value = pixels.float().mean(dim=(1, 2, 3, 4)) / 255
    return torch.stack([value ** (1 + n / 100) for n in range(512)], dim=1)


def started(task: TspTask) -> TspTask:
    torch.manual_seed(0)
    network, _, _ = load_network(catalog_entry("tsn_r18"), weights="random", seed=0)
    task.start(network, encode, torch.device("cpu"))
    return task


def test_every_frame_of_every_clip_is_of_its_row(tmp_path):
    """Pixels say which frame they are; the crop is the whole picture, so that they can be read."""
    truth = {}
    for name in ("a", "b", "c"):
        make.constant(tmp_path / f"{name}.mp4", 300, 30)
        truth[name] = ("training", 10.0, [(2.0, 4.0, "x"), (6.0, 7.5, "y")])
    config = replace(CONFIG, tsp=TspConfig(clips_per_row=3))
    spec = replace(start_of(config).spec, short_side=32)  # no margin to crop from
    data = tmp_path, annotate(tmp_path / "annotations.json", truth)
    task = plan_tsp(Request(*data, spec, config)).prepare(tmp_path / "w.frames", silent)
    spans = {0: [(6.0, 7.5)], 1: [(2.0, 4.0)], UNLABELED: [(0.0, 2.0), (4.0, 6.0), (7.5, 10.0)]}
    assert task.about["labels"] == ["x", "y"]
    seen: dict[int, set[int]] = {place: set() for place in spans}
    for epoch in range(2):
        for batch in task.batches(epoch, ALONE):
            for pixels, place in zip(batch.pixels, batch.targets["place"].tolist(), strict=True):
                upright = pixels if pixels[0, 26:30, 10:14].float().mean() < 117 else pixels.flip(2)
                frames = [make.index_of(picture.numpy()) for picture in upright]
                assert np.diff(frames).tolist() == np.diff(cells_of(spec)).tolist()  # 30 fps on a grid of 30 fps
                rows = spans[{0: 1, 1: 0, UNLABELED: UNLABELED}[place]]
                assert any(start * 30 <= frames[0] and frames[-1] < end * 30 for start, end in rows)
                seen[place].update(frames)
    assert all(len(frames) > 12 for frames in seen.values())


def test_an_epoch_has_all_clips_of_all_rows_and_another_one_other_places(data, tmp_path):
    task = started(task_of(data, tmp_path))
    first, again, other = (list(task.batches(epoch, ALONE)) for epoch in (0, 0, 1))
    assert sum(len(batch.pixels) for batch in first) == task.samples[0]
    places = torch.cat([batch.targets["place"] for batch in first])
    regions = torch.cat([batch.targets["region"] for batch in first])
    assert torch.equal(regions, (places == UNLABELED).long())
    assert {len(places[places == place]) % 2 for place in (0, 1, UNLABELED)} == {0}
    assert all(torch.equal(one.pixels, two.pixels) for one, two in zip(first, again, strict=True))
    assert not any(torch.equal(one.pixels, two.pixels) for one, two in zip(first, other, strict=True))


def test_all_frames_of_a_clip_share_crop_and_mirroring():
    ramp = torch.arange(40).view(1, 40, 1) * 4 + torch.arange(50).view(1, 1, 50)
    frames = (ramp + 7 * torch.arange(6).view(6, 1, 1)).to(torch.uint8).unsqueeze(-1).repeat(1, 1, 1, 3)
    mirrored = set()
    for seed in range(40):
        cropped = random_crop(frames, np.random.default_rng(seed), 32).int()
        assert cropped.shape == (6, 32, 32, 3)
        steps = (cropped[1:] - cropped[:-1]) % 256
        assert (steps == 7).all()
        mirrored.add(int((cropped[0, 0, 1, 0] - cropped[0, 0, 0, 0]) % 256))
    assert mirrored == {1, 255}


def test_the_global_feature_is_the_maximum_of_what_extraction_writes(data, tmp_path):
    spec = start_of(CONFIG).spec
    network, _, _ = load_network(catalog_entry("tsn_r18"), weights="random", seed=CONFIG.seed)
    save_trained(tmp_path / "initial.safetensors", network, spec, about={})
    extraction = ExtractConfig(
        encoder="tsn_r18", weights=str(tmp_path / "initial.safetensors"), stride_frames=16, workers=1, device="cpu",
        precision="fp32",
    )  # fmt: skip
    store, _ = extract([data[0] / "v1.mp4"], tmp_path / "store", extraction)
    rows = store.read("v1").features
    assert len(rows) == 23  # 12 s of windows of 16/30 s
    task = task_of(data, tmp_path)
    trainer = EncoderTrainer(start_of(CONFIG), task, CONFIG, identity="")
    stored = load_file(tmp_path / "weights.gvf.safetensors")
    assert set(stored) == {f"video v{n}" for n in range(6)}
    np.testing.assert_allclose(stored["video v1"], rows.max(axis=0), rtol=1e-3, atol=1e-4)
    before = {video: feature.clone() for video, feature in task._features.items()}
    trainer.train()
    for batch in task.batches(1, ALONE):  # the same for all clips of a video, also when the encoder has moved
        for feature in batch.targets["global"]:
            assert any(torch.equal(feature, before[video]) for video in before)
    assert all(torch.equal(task._features[video], before[video]) for video in before)
    assert not any(feature.requires_grad for feature in task._features.values())


@pytest.mark.parametrize("plan", [plan_tsp, plan_tac])
def test_the_losses_of_two_ranks_add_up_to_those_of_one(data, tmp_path, plan):
    task = started(task_of(data, tmp_path, plan))
    whole = [task.losses(encode, batch) for batch in task.batches(0, ALONE)]
    assert set(whole[0]) == ({"action", "region"} if plan is plan_tsp else {"action"})
    parts = []
    for rank in range(2):
        batches = list(task.batches(0, Team(rank, 2)))
        parts.append([{n: v * b.share for n, v in task.losses(encode, b).items()} for b in batches])
    for one, first, second in zip(whole, *parts, strict=False):
        for name, value in one.items():
            torch.testing.assert_close(first[name] + second[name], value)


def test_the_stem_stays_and_the_layers_move(data, tmp_path):
    config = replace(CONFIG, frozen_stages=1, optimizer="sgd", head_learning_rate=2e-3)
    trainer = EncoderTrainer(start_of(config), task_of(data, tmp_path, config=config), config, identity="")
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.train()
    moved = {name for name, value in trainer.network.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in moved} == {"layer1", "layer2", "layer3", "layer4"}


def test_the_epoch_is_chosen_without_the_validation_subset(data, tmp_path, monkeypatch):
    seen: list[set[str]] = []
    accuracies = TspTask._accuracies

    def watched(self, rows, encode):
        seen.append({row.video for row in rows})
        return accuracies(self, rows, encode)

    monkeypatch.setattr(TspTask, "_accuracies", watched)
    summary = pretrain(data[0], tmp_path / "w.safetensors", CONFIG, annotations=data[1])
    held_out = seen[0]
    assert seen == [held_out, held_out, held_out, {"v5"}]  # two epochs, then the report
    assert "v5" not in held_out
    assert len(held_out) == 2
    best = max(record["mean_accuracy"] for record in summary.history)
    assert summary.outcome.measures["mean_accuracy"] == best
    assert {"validation_action_accuracy", "validation_region_accuracy"} <= set(summary.outcome.measures)
    assert "11 segments (1 shorter than a clip, taken around the middle)" in summary.text()
    written = json.loads((tmp_path / "w.json").read_text())
    assert written["labels"] == ["lying", "upright"]
    assert (tmp_path / "w.png").is_file()


@pytest.mark.parametrize("task", ["tsp", "tac"])
def test_an_interrupted_training_ends_with_the_same_bytes_and_extracts(data, tmp_path, task):
    config = replace(CONFIG, task=task)
    pretrain(data[0], tmp_path / "whole.safetensors", config, annotations=data[1])

    def interrupt(done: float, text: str) -> None:
        if text.startswith("epoch 1"):
            raise KeyboardInterrupt

    out = tmp_path / "parts.safetensors"
    with pytest.raises(KeyboardInterrupt):
        pretrain(data[0], out, config, annotations=data[1], report=interrupt)
    (tmp_path / "parts.gvf.safetensors").unlink(missing_ok=True)  # made again, from the initial weights
    summary = pretrain(data[0], out, config, annotations=data[1])
    assert len(summary.history) == 2
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert pretrain(data[0], out, config, annotations=data[1]).finished_before
    assert carried_spec(out) == start_of(config).spec
    extraction = ExtractConfig(encoder="tsn_r18", weights=str(out), workers=1, device="cpu", precision="fp32")
    store, _ = extract([data[0] / "v1.mp4"], tmp_path / "store", extraction)
    assert store.read("v1").features.shape == (23, 512)


@pytest.mark.slow
def test_two_processes_of_torchrun_end_near_one(data, tmp_path):
    """Batch norm sees half a batch in each: only the last layer has it in training here, so the loss is close."""
    words = ["pretrain", str(data[0]), "--annotations", str(data[1]), "--task", "tsp", "--size", "32", "--epochs", "1"]
    words += ["--tsp.clips-per-row", "2", "--batch-size", "8", "--frozen-stages", "4", "--learning-rate", "1e-5"]
    words += ["--device", "cpu", "--precision", "fp32"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pipeline"]
    losses = {}
    for name, launch in (("one", ["-m", "pipeline"]), ("two", torchrun)):
        command = [sys.executable, *launch, *words, "--out", str(tmp_path / f"{name}.safetensors")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        losses[name] = json.loads((tmp_path / f"{name}.json").read_text())["history"][0]["loss"]
    assert losses["two"] == pytest.approx(losses["one"], rel=0.05)
