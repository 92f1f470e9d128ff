"""Fitting on several ranks: the same curve as one process; all ranks are interrupted and end together."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.stages.enhance import enhance_store
from pipeline.store.feature_store import FeatureStore
from sola.config import SolaConfig
from sola.distributed import ALONE, Team, joined_team
from sola.errors import SolaError
from sola.files import load_module
from sola.fit import StepRecord, fit
from tests import ROOT
from tests.sola.test_fit import CHANNELS, MIXED_LENGTHS, SMALL, Videos, assert_same_state, weights_of
from tests.stores import make_store

# Steps of nine windows, so that two processes have four and five; short videos, so that their pairs differ more.
NINE = replace(SMALL, batch_size=9, windows_per_video=9, steps=8)
CASES = {
    "raw": NINE,
    "bound by input": replace(NINE, normalize="center", input_weight=0.7),
    "no predictor": replace(NINE, predictor=False, normalize="center"),
}


@pytest.fixture
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def member(rank: int, port: int, folder: Path) -> None:
    """Run one of two ranks: all cases, then a fit that is interrupted and resumes, then one in which rank 1 dies."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in environment.items()})
    source = Videos(MIXED_LENGTHS)
    told: dict[str, object] = {}
    with joined_team("cpu") as team:
        for name, config in CASES.items():
            result = fit(source, config, channels=CHANNELS, checkpoint=folder / name, team=team)
            told[name] = [asdict(record) for record in result.history]

        def interrupt_the_second(record: StepRecord, total: int) -> None:
            told["interrupted after"] = record.step
            if record.step == 3 and rank == 1:
                os.kill(os.getpid(), signal.SIGTERM)

        try:
            fit(source, NINE, channels=CHANNELS, checkpoint=folder / "cut", team=team, on_step=interrupt_the_second)
        except KeyboardInterrupt:
            team.all_gather(None)  # rank 0 has written the checkpoint
        result = fit(source, NINE, channels=CHANNELS, checkpoint=folder / "cut", team=team)
        told["resumed"] = [asdict(record) for record in result.history]
        try:
            fit(source, replace(SMALL, batch_size=1), channels=CHANNELS, team=team)
        except SolaError as error:
            told["too few windows"] = str(error)

        def die(record: StepRecord, total: int) -> None:
            if record.step == 4 and rank == 1:
                (folder / "told1").write_text(json.dumps(told))
                os._exit(9)

        try:
            fit(source, NINE, channels=CHANNELS, team=team, on_step=die)
        except SolaError as error:
            told["lost"] = str(error)
    (folder / f"told{rank}").write_text(json.dumps(told))


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> tuple[Path, list[dict]]:
    """Return the folder of the checkpoints, and the results of the two ranks."""
    folder = tmp_path_factory.mktemp("team")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=member, args=(rank, port, folder)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 9]
    return folder, [json.loads((folder / f"told{rank}").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_curve_and_the_weights_of_one(told, doubles, tmp_path, name):
    folder, (first, second) = told
    alone = fit(Videos(MIXED_LENGTHS), CASES[name], channels=CHANNELS, checkpoint=tmp_path / "alone")
    assert len(alone.history) == 8
    assert alone.history[-1].loss != alone.history[0].loss
    assert first[name] == second[name]
    for record, expected in zip(first[name], alone.history, strict=True):
        assert record == pytest.approx(asdict(expected), rel=1e-10), expected.step
    for (where, ours), (_, theirs) in zip(weights_of(folder / name), weights_of(tmp_path / "alone"), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-7, atol=1e-10), where


def test_an_interruption_of_one_ends_all_after_the_same_step_and_they_go_on_to_the_same_weights(told):
    folder, (first, second) = told
    assert first["interrupted after"] == second["interrupted after"] == 3
    assert first["resumed"] == first["raw"]
    assert_same_state(folder / "cut", folder / "raw")


def test_when_one_dies_the_other_says_what_happened(told):
    _, (first, second) = told
    assert first["lost"].startswith("process 0 of 2 stops because another one has ended")
    assert "lost" not in second


def test_more_processes_than_windows_are_refused(told):
    for one in told[1]:
        assert one["too few windows"].startswith("2 processes cannot share steps of 1 windows: raise batch_size")


@pytest.mark.parametrize("count", [0, 1, 5, 9, 64])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_shards_are_everything_once_and_of_nearly_equal_size(count, size):
    shards = [list(range(count))[Team(rank, size).shard(count)] for rank in range(size)]
    assert [number for shard in shards for number in shard] == list(range(count))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_without_torchrun_a_process_is_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with joined_team("cpu") as team:
        assert team is ALONE
    assert ALONE.any([True, False], torch.device("cpu")) == [True, False]
    assert ALONE.all_gather("x") == ["x"]


# Under torchrun


COMMANDED = replace(SMALL, steps=40, batch_size=6, windows_per_video=2, normalize="center")
OPTIONS = ["--batch-size", "6", "--windows-per-video", "2", "--hidden", "8", "--predictor-hidden", "8"]
OPTIONS += ["--learning-rate", "1e-2", "--normalize", "center", "--device", "cpu", "--log-every-steps", "1"]


def torchrun(store: Path, out: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "pipeline", "sola", str(store), "--out", str(out), *OPTIONS, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    random = np.random.default_rng(0)
    videos = {f"v{n}": random.normal(size=(n, CHANNELS)).astype(np.float32) for n in (3, 30, 40, 41, 60, 90)}
    return make_store(tmp_path / "store", videos)


def test_the_command_under_torchrun_does_what_it_does_alone(store, tmp_path):
    process = torchrun(store.path, tmp_path / "two", "--steps", "40")
    _, summary = enhance_store(store, tmp_path / "one", COMMANDED)
    output, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    lines = output.splitlines()
    assert lines[0] == f"{tmp_path / 'two'}: {summary.text()}"  # once, of all
    assert len(lines) == 5  # counts, loss, the three of the gauge
    one, two = (json.loads((tmp_path / name / "sola_history.json").read_text()) for name in ("one", "two"))
    assert [r["loss"] for r in two] == pytest.approx([r["loss"] for r in one], rel=1e-6)
    ours, theirs = FeatureStore.open(tmp_path / "two"), FeatureStore.open(tmp_path / "one")
    assert ours.ids() == theirs.ids() == store.ids()
    for one_of_ours, one_of_theirs in zip(ours.sequences(), theirs.sequences(), strict=True):
        assert np.allclose(one_of_ours.features, one_of_theirs.features, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_team_that_is_ended_goes_on_from_its_checkpoint(store, tmp_path, end):
    out, endless = tmp_path / "out", ("--steps", "100000", "--checkpoint-every-steps", "20")
    process = torchrun(store.path, out, *endless)
    deadline = time.monotonic() + 60
    while not (out / ".sola_checkpoint").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    if end == signal.SIGKILL:  # of one of the processes, as the system does it when memory runs out
        members = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(members[-1]), end)
    else:
        process.send_signal(end)
    _, errors = process.communicate(timeout=180)
    assert process.returncode != 0
    if end == signal.SIGKILL:
        assert "stops because another one has ended" in errors
    steps = torch.load(out / ".sola_checkpoint", weights_only=True)["state"]["step"]
    assert steps >= 20
    process = torchrun(store.path, out, "--steps", str(steps + 5))
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert "6 sequences enhanced, 0 were enhanced before" in output
    assert load_module(out / "sola.safetensors")[1].steps == steps + 5


def test_how_many_read_ahead_changes_nothing(tmp_path):
    source = Videos(MIXED_LENGTHS)
    for readers in (1, 4):
        fit(source, replace(NINE, readers=readers), channels=CHANNELS, checkpoint=tmp_path / f"{readers}")
    assert_same_state(tmp_path / "1", tmp_path / "4")
    fit(source, SolaConfig(**{**asdict(NINE), "readers": 2}), channels=CHANNELS, checkpoint=tmp_path / "1")
