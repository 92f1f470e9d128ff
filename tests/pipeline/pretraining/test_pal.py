"""The task after PAL as a whole: it learns, resumes exactly, shares its work, and says what is wrong with the data."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.pal import PalTask
from pipeline.pretraining.pal_config import PalConfig
from pipeline.pretraining.pal_data import stretches_of
from pipeline.pretraining.trainer import EncoderTrainer
from pipeline.stages.extract import extract
from pipeline.stages.pretrain import pretrain, start_of
from pipeline.video.errors import VideoError
from sola.distributed import joined_team
from sola.old_names import stored_settings
from tests import ROOT
from tests import videos as make
from tests.pipeline.pretraining.pal_videos import moving_squares, tiny

NETWORK = str(ROOT / "tests" / "pipeline" / "pretraining" / "pal_videos.py") + ":tiny"
PAL = PalConfig(
    sources=3, clips=6, clip_stride_frames=4, rounds=1, queue=16, projection_dim=8, momentum=0.9, augment=False
)
CONFIG = PretrainConfig(
    task="pal",
    encoder=NETWORK,
    weights="own",
    size=32,
    epochs=3,
    precision="fp32",
    device="cpu",
    warmup_epochs=0,
    pal=PAL,
)
SPEC, _ = tiny()


def trainer(
    folder: Path, config: PretrainConfig = CONFIG, *, numbers=(7, 3), **kwargs
) -> tuple[EncoderTrainer, PalTask]:
    sides = [moving_squares(folder / f"{n}-{seed}", n, frames=100, seed=seed) for seed, n in enumerate(numbers)]
    task = PalTask(*sides, SPEC, config, shortened=0, failed={})
    return EncoderTrainer(start_of(config), task, config, identity="x", **kwargs), task


def everything(one: EncoderTrainer, task: PalTask) -> dict[str, torch.Tensor]:
    state = task.state()
    queue = {"queue": state["queue"]["keys"], "queue sources": state["queue"]["sources"]}
    parts = {"network": one.network, "heads": task.heads}
    flat = {f"{name}.{k}": v for name, part in parts.items() for k, v in part.state_dict().items()}
    return flat | queue | {f"{name}.{k}": v for name in ("key", "key_heads") for k, v in state[name].items()}


@pytest.mark.slow
def test_it_learns_to_find_the_same_source_among_32_in_another_background(tmp_path):
    shares = {"region_share": (0.3, 0.6), "paste_share": (0.5, 0.8)}
    pal = replace(
        PAL, **shares, sources=8, clips=12, rounds=4, queue=64, projection_dim=32, momentum=0.95, temperature=0.2
    )
    config = replace(CONFIG, epochs=4, learning_rate=5e-3, pal=pal)
    one, task = trainer(tmp_path, config, numbers=(64, 32))
    one.network.eval()
    with torch.no_grad():
        before = task.validate(one._encode)
    assert before["projected_retrieval"] < 0.25  # 1 in 32 is chance; the start weights see a little color
    assert before["retrieval"] < 0.35
    for _ in range(4):
        one.train()
    after = one.history[-1]
    assert after["projected_retrieval"] > 0.9
    assert after["retrieval"] > 0.9
    assert after["feature_spread"] > 2 * before["feature_spread"]
    assert after["dense_loss"] < 0.7 * one.history[0]["dense_loss"]


def test_a_collapsed_encoder_is_seen(tmp_path):
    _, task = trainer(tmp_path)
    measures = task.validate(lambda pixels: torch.ones(len(pixels), 32))
    assert measures["feature_spread"] < 1e-3
    assert measures["retrieval"] <= 0.5  # of 3 videos; all are alike, so the first one is always the nearest


def test_the_key_network_follows_and_the_queue_holds_the_newest_regions(tmp_path):
    config = replace(CONFIG, pal=replace(PAL, momentum=0.0, localization_weight=0.5))
    one, task = trainer(tmp_path, config)
    one.train()
    state = everything(one, task)
    assert all(torch.equal(value, state[f"network{name[3:]}"]) for name, value in state.items() if name[:4] == "key.")
    names = [name for name in state if name.startswith("key_heads.")]
    assert names
    assert all(torch.equal(state[name], state[name.replace("key_", "", 1)]) for name in names)
    # 7 videos: two steps of 3 sources with two regions each, in 16 places.
    pushed = [pair for batch in task.batches(0, one._team) for pair in batch.targets["sources"].tolist()]
    assert state["queue sources"].tolist() == [source for source in pushed for _ in range(2)] + [-1] * 4
    assert set(one.history[0]) >= {"region_loss", "dense_loss", "localization_loss"}


def test_an_interrupted_training_continues_with_the_same_queue_and_key_network(tmp_path):
    whole, whole_task = trainer(tmp_path)
    first, _ = trainer(tmp_path)
    for _ in range(3):
        whole.train()
    first.train()
    first.save(tmp_path / "checkpoint")
    second, second_task = trainer(tmp_path)
    second.load(tmp_path / "checkpoint")
    forgetful, forgetful_task = trainer(tmp_path)
    forgetful_task.load_state = lambda state: None
    forgetful.load(tmp_path / "checkpoint")
    for _ in range(2):
        second.train()
        forgetful.train()
    expected, found = everything(whole, whole_task), everything(second, second_task)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert whole.history == second.history
    lost = everything(forgetful, forgetful_task)  # the test sees a queue that is not kept
    assert not all(torch.equal(expected[name], lost[name]) for name in expected if name.startswith("network"))


def evaluated(folder: Path, out: Path) -> None:
    """Train as one rank of a team, with batch norm in evaluation mode: what ranks share is exact then."""
    with joined_team("cpu") as team:
        config = replace(CONFIG, epochs=2, optimizer="sgd", pal=replace(PAL, sources=5))
        one, task = trainer(folder / str(team.rank), config, numbers=(11, 3), team=team)
        one.network.train = lambda mode=True: one.network  # type: ignore[method-assign]
        for _ in range(2):
            one.train()
        if team.is_first:
            torch.save(everything(one, task), out)


@pytest.mark.slow
def test_two_processes_compare_with_the_regions_of_both(tmp_path):
    for name in ("alone/0", "two/0", "two/1"):
        (tmp_path / name).mkdir(parents=True)
    evaluated(tmp_path / "alone", tmp_path / "one.pt")
    call = (
        "from tests.pipeline.pretraining.test_pal import evaluated, Path; "
        f"evaluated(Path({str(tmp_path / 'two')!r}), Path({str(tmp_path / 'two.pt')!r}))"
    )
    (tmp_path / "rank.py").write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{call}\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*command, str(tmp_path / "rank.py")], check=True, timeout=300, cwd=ROOT)
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)
    assert torch.equal(one["queue sources"], two["queue sources"])


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(7):
        make.constant(folder / f"v{number}.mp4", 40 if number else 100, 10, size=(32, 48))
    make.constant(folder / "short.mp4", 20, 10, size=(32, 48))
    return folder


def test_unlabeled_videos_become_weights_that_extract_takes(videos, tmp_path):
    out = tmp_path / "pal.safetensors"
    config = replace(CONFIG, epochs=2, pal=replace(PAL, max_video_seconds=4.0, augment=True))
    summary = pretrain(videos, out, config)
    assert summary.samples == (4, 3)
    [(path, reason)] = summary.failed.items()
    assert path.endswith("short.mp4")
    assert reason == "too_short: 2 s, a synthetic video has 3 s; lower --pal.clips"
    assert summary.text().startswith("after PAL: of 3 regions of held-out videos ")
    assert "of 1 longer video evenly chosen stretches of 4 s were used" in summary.text()
    assert list(summary.history[1]) == [
        *("loss", "region_loss", "dense_loss", "retrieval", "projected_retrieval", "feature_spread")
    ]
    extraction = ExtractConfig(encoder=NETWORK, weights=str(out), workers=1, device="cpu", precision="fp32")
    store, _ = extract([videos / "v1.mp4"], tmp_path / "store", extraction)
    assert store.read("v1").features.shape[1] == 32
    assert store.spec.encoder["crop_size"] == 32
    assert pretrain(videos, out, config).finished_before


def test_a_longer_video_gives_evenly_spread_stretches():
    path = Path("v.mp4")
    assert [clip.span for clip in stretches_of(path, "v", 60.0, shortest=5.0, most=60.0)] == [None]
    spans = [clip.span for clip in stretches_of(path, "v", 240.0, shortest=5.0, most=60.0)]
    assert spans == [(22.5, 37.5), (82.5, 97.5), (142.5, 157.5), (202.5, 217.5)]  # 15 s in the middle of each minute
    assert [clip.span for clip in stretches_of(path, "v", 20.0, shortest=5.0, most=6.0)] == [(7.0, 13.0)]
    with pytest.raises(VideoError, match="too_short: 4 s, a synthetic video has 5 s"):
        stretches_of(path, "v", 4.0, shortest=5.0, most=60.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"sources": 5},
            "has 4 usable videos to learn from and 3 held out.*the task pal needs 5 .--pal.sources. and 3",
        ),
        (
            {"clips": 9},
            "has 0 usable videos to learn from and 1 held out .7 other videos unusable: too_short: .* 4.5 s",
        ),
        ({"max_video_seconds": 2.0}, "pal.max_video_seconds must be >= 3, the length of a synthetic video of 6 clips"),
    ],
)
def test_too_few_or_too_short_videos_are_one_clear_line(videos, tmp_path, changes, words):
    with pytest.raises(PipelineError, match=words):
        pretrain(videos, tmp_path / "w.safetensors", replace(CONFIG, pal=replace(PAL, **changes)))


def test_annotations_are_refused(videos, tmp_path):
    with pytest.raises(PipelineError, match="the task pal learns without labels; leave out --annotations"):
        pretrain(videos, tmp_path / "w.safetensors", CONFIG, annotations=tmp_path / "a.json")


def test_settings_of_other_tasks_stay_as_they_were():
    assert not {"pal", "bsp", "tsp"} & set(stored_settings(PretrainConfig()))  # the records of older trainings hold
    assert stored_settings(CONFIG)["pal"]["sources"] == 3
