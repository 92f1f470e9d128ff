"""The workers of a Ray cluster leave the files that one machine leaves, even if some are killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.ablation.ablate import ablate
from pipeline.ablation.config import AblateConfig
from pipeline.cluster.config import ExecutionConfig, ExtractExecutionConfig
from pipeline.config import LocalizeConfig
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.stages.extract import extract
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from pipeline.store.tools.verify import verify_store
from tests import ROOT
from tests import videos as make
from tests.pipeline.ablation.plans import SMALL
from tests.pipeline.stages.test_localize import TINY, write_annotations
from tests.pipeline.stages.test_stages import gray_video
from tests.stores import annotate, make_store

ray = pytest.importorskip("ray")

RAY = {"executor": "ray", "ray_workers": 2, "ray_cpus_per_worker": 1}
BOTH = [
    pytest.param({}, id="own decoders"),
    pytest.param({"ray_decoders": 1}, id="decoders elsewhere", marks=pytest.mark.slow),
]
LENGTHS = {"a": 10, "b": 57, "c": 133, "d": 260, "e": 31}  # frames at 10 a second

# Each marker file kills one encoding process once it has encoded twelve batches.
ENCODER = """
import os, signal, time
from pathlib import Path
import torch
from encoders.spec import EncoderSpec


class MeanColor(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(2.0))
        self.calls = 0

    def forward(self, clips):  # [B, 3, F, H, W]
        self.calls += 1
        time.sleep({seconds})
        if self.calls > 12:
            for marker in Path(__file__).parent.glob("kill*"):
                try:
                    marker.unlink()
                except FileNotFoundError:  # another process was faster
                    continue
                os.kill(os.getpid(), signal.SIGKILL)
        if {poison} is not None and clips.mean() > {poison}:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.gain * clips.mean(dim=(2, 3, 4))


def mine():
    spec = EncoderSpec(
        name="mine", version=1, feature_dim=3, num_frames=2, window_frames=4, fps=10.0, short_side=32, crop_size=32,
        mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), layout="clip", source="mean color",
    )
    return spec, MeanColor()
"""


def encoder_in(folder: Path, *, seconds: float = 0.0, poison: float | None = None) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "own.py").write_text(ENCODER.format(seconds=seconds, poison=poison))
    return f"{folder / 'own.py'}:mine"


def config_of(encoder: str, **execution) -> ExtractConfig:
    settings = ExtractExecutionConfig(**execution)
    return ExtractConfig(encoder=encoder, stride_frames=4, precision="fp32", workers=1, execution=settings)


def files_of(store: Path) -> dict[str, bytes]:
    """Return the files of a store about its videos: arrays, sidecars, failures."""
    files = [*(store / "features").iterdir(), *(store / "failures").glob("*")]
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine, shared by the tests of this file."""
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, frames in LENGTHS.items():
        make.constant(folder / f"{name}.mp4", frames, 10)
    (folder / "bad.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def expected(videos, tmp_path_factory) -> dict[str, bytes]:
    """The files that one machine leaves."""
    folder = tmp_path_factory.mktemp("local")
    _, summary = extract([videos], folder / "store", config_of(encoder_in(folder)))
    assert (summary.done, list(summary.failed)) == (5, ["bad"])
    return files_of(folder / "store")


@pytest.mark.parametrize("more", BOTH)
def test_workers_leave_the_files_that_one_machine_leaves(cluster, videos, expected, tmp_path, more):
    reports = []
    config = config_of(encoder_in(tmp_path), **RAY, ray_range_minutes=0.1, **more)
    store, summary = extract([videos], tmp_path / "store", config, report=lambda *said: reports.append(said))
    assert files_of(store.path) == expected
    assert not (store.path / "parts").exists()
    assert (summary.done, summary.skipped, list(summary.failed)) == (len(LENGTHS), 0, ["bad"])
    assert summary.snippets == 3 + 15 + 34 + 65 + 8
    assert reports[-1][0] == 1.0
    assert reports[-1][1].startswith("6/6 videos")
    assert verify_store(store, deep=True) == []
    _, again = extract([videos], tmp_path / "store", config)
    assert (again.done, again.skipped, len(again.failed)) == (0, 5, 1)


@pytest.mark.slow
def test_a_worker_that_cannot_load_its_encoder_ends_the_job_with_its_error(cluster, videos, tmp_path):
    (tmp_path / "own.py").write_text("def mine():\n    return 1\n")
    with pytest.raises(Exception, match="mine") as error:
        extract([videos], tmp_path / "store", config_of(f"{tmp_path / 'own.py'}:mine", **RAY))
    assert type(error.value).__name__ == "EncoderError"
    assert not (tmp_path / "store").exists()


def test_a_worker_larger_than_any_machine_is_refused(cluster, videos, tmp_path):
    with pytest.raises(PipelineError, match="a worker needs 64 CPUs"):
        extract([videos], tmp_path / "store", config_of("mine.py:mine", executor="ray", ray_cpus_per_worker=64))


@pytest.mark.slow
def test_detections_are_those_of_one_machine(cluster, tmp_path):
    own = encoder_in(tmp_path)
    for name in ("a", "b", "c"):
        gray_video(tmp_path / "videos" / f"{name}.mp4", 24)
    store, _ = extract([tmp_path / "videos"], tmp_path / "store", config_of(own))
    write_annotations(tmp_path / "annotations.json", a="training", b="validation", c="validation")
    train(store, tmp_path / "annotations.json", tmp_path / "model", TINY)
    model = load_model(tmp_path / "model")
    (tmp_path / "videos" / "bad.mp4").write_text("no video")
    local = localize([tmp_path / "videos"], model, LocalizeConfig(encoder=own))
    config = LocalizeConfig(encoder=own, execution=ExecutionConfig(**RAY))
    theirs = localize([tmp_path / "videos"], model, config)
    assert theirs.detections == local.detections
    assert list(theirs.detections) == ["a", "b", "c"]
    assert theirs.failed == local.failed


@pytest.mark.slow
def test_cells_score_what_they_score_on_one_machine(cluster, tmp_path):
    random = make.np.random.default_rng(0)
    rows = {name: random.normal(0, 1, (40, 6)).astype("f4") for name in "abcd"}
    make_store(tmp_path / "store", rows)
    truth = {name: ("validation" if name == "d" else "training", 20.0, [(6.2, 12.2, "x")]) for name in rows}
    given = {"store": (tmp_path / "store",), "annotations": annotate(tmp_path / "annotations.json", truth)}
    plan = tmp_path / "plan.toml"
    plan.write_text('seeds = [0]\n[grid]\nprobe.comparison = ["raw", "centred"]\n' + SMALL)
    said: list[str] = []
    local = ablate(plan, tmp_path / "local", AblateConfig(jobs=1, head=False, **given), say=said.append)
    config = AblateConfig(head=False, execution=ExecutionConfig(**RAY), **given)
    theirs = ablate(plan, tmp_path / "ray", config, say=said.append)
    assert [result.scores for result in theirs] == [result.scores for result in local]
    assert len(theirs) == 2 and not any(result.failure for result in theirs)


# --- workers are killed -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("more", BOTH)
def test_two_workers_killed_in_the_middle_change_nothing(cluster, videos, expected, tmp_path, more):
    config = config_of(encoder_in(tmp_path, seconds=0.02), **RAY, ray_range_minutes=0.1, **more)
    for number in (1, 2):
        (tmp_path / f"kill{number}").touch()
    store, summary = extract([videos], tmp_path / "store", config)
    assert not list(tmp_path.glob("kill*"))
    assert files_of(store.path) == expected
    assert (summary.done, list(summary.failed)) == (5, ["bad"])


@pytest.mark.slow
def test_a_video_that_kills_its_workers_fails_alone(cluster, videos, expected, tmp_path):
    white = make.write_video(
        tmp_path / "white.mp4", range(40), make.Fraction(1, 10), draw=lambda i, h, w: make.np.full((h, w, 3), 255, "u1")
    )
    config = config_of(encoder_in(tmp_path, poison=0.95), **RAY)
    store, summary = extract([white, videos], tmp_path / "store", config)
    assert summary.failed["white"].startswith("crashed: 3 workers died over it")
    assert store.failure("white")["kind"] == "crashed"
    assert {name: data for name, data in files_of(store.path).items() if not name.startswith("white")} == expected


@pytest.mark.slow
def test_a_machine_that_is_stopped_in_mid_job_changes_nothing(videos, expected, tmp_path):
    from ray.cluster_utils import Cluster

    ray.shutdown()
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    others = [machines.add_node(num_cpus=1) for _ in range(2)]
    stopped = []

    def stop_one(done: float, text: str) -> None:
        if done > 0.2 and not stopped:
            stopped.append(text)
            machines.remove_node(others[0], allow_graceful=False)

    try:
        address = {"ray_address": machines.address, "executor": "ray", "ray_cpus_per_worker": 1}
        config = config_of(encoder_in(tmp_path, seconds=0.05), **address, ray_range_minutes=0.1)
        store, summary = extract([videos], tmp_path / "store", config, report=stop_one)
    finally:
        ray.shutdown()
        machines.shutdown()
    assert stopped
    assert files_of(store.path) == expected
    assert (summary.done, list(summary.failed)) == (5, ["bad"])


@pytest.mark.slow
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_with_130_and_leaves_nothing_half_written(videos, expected, tmp_path, which):
    own = encoder_in(tmp_path, seconds=0.1)
    words = ["extract", str(videos), "--out", str(tmp_path / "store"), "--encoder", own, "--stride-frames", "4"]
    words += ["--precision", "fp32", "--executor", "ray", "--ray-cpus-per-worker", "1", "--ray-range-minutes", "0.1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    start = lambda: subprocess.Popen([sys.executable, "-m", "pipeline", *words], env=environment, **pipes)  # noqa: E731
    with start() as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "store" / "features" / "a.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(which)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert errors.startswith("interrupted; what is finished is kept")
    assert errors.count("\n") == 1
    assert list(tmp_path.glob("store/**/.*.partial")) == []
    assert len(files_of(tmp_path / "store")) < len(expected)
    encoder_in(tmp_path)
    with start() as process:
        process.communicate(timeout=120)
    assert process.returncode == 1
    assert files_of(tmp_path / "store") == expected
