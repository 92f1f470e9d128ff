"""Runs of end-to-end training: interrupted, in several processes, with a bad loss, with bad input."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.errors import PipelineError
from pipeline.stages.end_to_end_data import Request
from pipeline.stages.train_end_to_end import train_end_to_end
from pipeline.training import end_to_end
from pipeline.training.end_to_end_config import EndToEndConfig
from tests import ROOT
from tests.small_encoder import HEAD, TINY, make_data, request


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_data(tmp_path_factory.mktemp("end_to_end"))


LEARNING = replace(TINY, head=replace(HEAD, dropout=0.3))
CHANGES = {"encoder_learning_rate": 1e-3, "gradient_share": 0.5}


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """The model of a training that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole") / "model"
    train_end_to_end(request(data, out, LEARNING, **CHANGES))
    return out


@pytest.mark.parametrize("stop_at", [2, 3, 5])
def test_an_interrupted_training_ends_with_the_same_weights(data, whole, tmp_path, monkeypatch, stop_at):
    cut = request(data, tmp_path / "cut", LEARNING, **CHANGES)
    steps, step = [], end_to_end.take_step

    def stopping(*arguments):
        report = step(*arguments)
        steps.append(report.done)
        if len(steps) == stop_at:
            raise KeyboardInterrupt
        return report

    monkeypatch.setattr(end_to_end, "take_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        train_end_to_end(cut)
    assert (cut.out / ".train_checkpoint").is_file()
    torch.manual_seed(stop_at)  # the caller's generator has no part in it
    train_end_to_end(cut)
    assert steps == list(range(1, 10))
    for file in ("head.safetensors", "encoder.safetensors", "model.json"):
        assert (cut.out / file).read_bytes() == (whole / file).read_bytes(), file
    assert not (cut.out / ".train_checkpoint").exists()


def test_what_is_finished_is_not_done_again_unless_the_encoder_is_lost(data, whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "model")
    again = request(data, tmp_path / "model", LEARNING, **CHANGES)
    with monkeypatch.context() as patch:
        patch.setattr(end_to_end, "take_step", lambda *_: 1 / 0)
        assert train_end_to_end(again).finished_before
        (again.out / "encoder.safetensors").write_bytes(b"torn")
        with pytest.raises(ZeroDivisionError):
            train_end_to_end(again)


@pytest.mark.slow
def test_processes_under_torchrun_share_the_snippets_and_give_the_same_weights(data, tmp_path):
    from safetensors.torch import load_file

    words = [
        "--annotations",
        str(data / "annotations.json"),
        "--encoder",
        f"{data / 'own.py'}:small",
        "--weights",
        "own",
    ]
    words += ["--stride-frames", "2.5", "--precision", "fp32", "--device", "cpu", "--encoder-learning-rate", "1e-3"]
    words += ["--epochs", "2", "--min-steps-per-epoch", "3", "--batch-size", "2", "--head.embed-dim", "8"]
    words += ["--head.levels", "2", "--head.max-seq-len", "8"]
    command = [sys.executable, "-m", "pipeline", "train", str(data / "videos"), "--end-to-end", *words, "--out"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--nproc-per-node", "2", "--standalone"]
    for name, before in (("one", []), ("two", torchrun)):
        done = subprocess.run(
            [*before, *command, str(tmp_path / name)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("3 training and 1 validation video, 2 classes") == 1
        assert "of the gradient's norm is in the encoder" in done.stderr
    for file in ("head.safetensors", "encoder.safetensors"):
        one, two = (load_file(tmp_path / name / file) for name in ("one", "two"))
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4)


def test_a_loss_that_is_not_finite_stops_with_its_step(data, tmp_path):
    with pytest.raises(PipelineError, match=r"became (nan|inf) at step [1-8]; lower .* encoder_learning_rate=1e\+30"):
        train_end_to_end(request(data, tmp_path / "model", encoder_learning_rate=1e30))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r, d: replace(r, settings=replace(r.settings, frozen_stages=2)),
            "frozen_stages must be between",
        ),
        (lambda r, d: replace(r, config=replace(r.config, sola="unified")), "sola must be frozen with --end-to-end"),
        (lambda r, d: replace(r, inputs=[d / "nothing"]), "nothing"),
        (lambda r, d: replace(r, config=replace(r.config, train_subset="test")), "subset 'test'"),
        (lambda r, d: replace(r, settings=replace(r.settings, encoder="x3d_s", weights=str(d / "w.pth"))), "w.pth"),
        (lambda r, d: replace(r, settings=replace(r.settings, encoder="i3d_inception_flow", weights="random")), "RGB"),
    ],
)
def test_bad_input_is_one_line(data, tmp_path, change: Callable[..., Request], message: str):
    from pipeline.errors import SolaPipelineError

    torch.save({"weight": torch.ones(2)}, data / "w.pth")
    with pytest.raises(SolaPipelineError, match=message) as caught:
        train_end_to_end(change(request(data, tmp_path / "model"), data))
    assert "\n" not in str(caught.value)


def test_options_of_end_to_end_are_refused_without_it(tmp_path):
    from pipeline.commandline.end_to_end import only_store
    from pipeline.commandline.launch import bound_command

    words = ["train", "store", "--annotations", "a", "--out", "o"]
    for option in (["--frozen-stages", "1"], ["--frames", "folder"], ["--no-flip"]):
        with pytest.raises(PipelineError, match=f"{option[0]} has no effect without --end-to-end"):
            bound_command([*words, *option])
        bound_command([*words, "--end-to-end", *option])
    with pytest.raises(PipelineError, match="give one feature store, got 2"):
        only_store([Path("a"), Path("b")])
    with pytest.raises(PipelineError, match=r"is not a feature store: .* with --end-to-end"):
        only_store([tmp_path])
    (tmp_path / "store.json").touch()
    assert only_store([tmp_path]) == tmp_path


def test_settings_without_sense_are_refused():
    for wrong in ({"gradient_share": 0.0}, {"chunk_snippets": 0}, {"encoder_learning_rate": -1.0}, {"size": 3}):
        with pytest.raises(PipelineError, match=f"{next(iter(wrong))} must be"):
            EndToEndConfig(**wrong)
