"""Finished work is not computed again, and needs no writable disk."""

import errno
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.pretraining.config import PretrainConfig
from pipeline.stages import enhance as enhance_stage
from pipeline.stages import pretrain as pretrain_stage
from pipeline.stages import train as train_stage
from pipeline.stages.enhance import enhance_store
from pipeline.stages.extract import extract
from pipeline.stages.pretrain import pretrain
from pipeline.stages.run_record import Stages
from pipeline.stages.train import train
from pipeline.storage.atomic_files import write_json
from pipeline.storage.temporary_names import partial_name
from sola.config import SolaConfig
from tests import videos as make
from tests.crashes import Killing, victims
from tests.pipeline.stages.test_stages import gray_video
from tests.pipeline.stages.test_train_subsets import TINY
from tests.pipeline.store.test_leftovers import dead_process
from tests.stores import annotate, make_store
from tests.toys import use_toy_encoder

SOLA = SolaConfig(hidden=4, steps=2, window_snippets=8, tsm_size=4, position_stride=1, first_position=1, device="cpu")


@pytest.fixture
def store(tmp_path):
    random = np.random.default_rng(0)
    return make_store(tmp_path / "store", {name: random.normal(size=(20, 4)).astype(np.float32) for name in "abc"})


@pytest.fixture
def truth(tmp_path) -> Path:
    segments = [(2.0, 6.0, "x")]
    return annotate(tmp_path / "truth.json", {"a": ("training", 10.0, segments), "b": ("validation", 10.0, segments)})


def refused(*_: object, **__: object) -> None:
    raise AssertionError("computed again")


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


@contextmanager
def read_only(folder: Path):
    """Make every write below `folder` fail as on a read-only disk."""
    plain_open, plain_mkdir = Path.open, Path.mkdir

    def refuse(path: Path) -> None:
        if folder in path.parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def opened(path: Path, mode: str = "r", *args, **kwargs):
        if set(mode) & set("wax+"):
            refuse(path)
        return plain_open(path, mode, *args, **kwargs)

    def made(path: Path, *args, **kwargs) -> None:
        if not path.is_dir():
            refuse(path)
        plain_mkdir(path, *args, **kwargs)

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        refuse(path)  # also if there is no such file: a read-only mount is seen first

    with patch.multiple(Path, open=opened, mkdir=made, unlink=unlinked):
        yield


def test_a_finished_store_on_a_read_only_disk_is_done(tmp_path, monkeypatch, command):
    use_toy_encoder(monkeypatch)
    video = gray_video(tmp_path / "videos" / "a.mp4", 10)
    extract([video], tmp_path / "store", ExtractConfig(workers=1))
    words = ("extract", tmp_path / "videos", "--out", tmp_path / "store", "--workers", "1")
    with read_only(tmp_path / "store"):
        code, out, err = command(*words)
        assert (code, err.partition(" ")[0]) == (0, "next:")
        assert "0 videos done, 1 were done before, 0 failed" in out
    (tmp_path / "store" / "logs").rename(tmp_path / "logs")  # a store that never had logs
    with read_only(tmp_path / "store"):
        assert command(*words)[0] == 0
        gray_video(tmp_path / "videos" / "b.mp4", 10)
        code, _, err = command(*words)  # there is something to write
        assert (code, err.count("\n"), "Read-only file system" in err) == (2, 1, True)


def test_a_finished_training_is_not_done_again(tmp_path, store, truth, monkeypatch, command):
    model = tmp_path / "model"
    first = train(store, truth, model, TINY)
    before = files_of(model)
    (model / ".train_checkpoint").write_bytes(b"left between the model and the removal of this")
    with monkeypatch.context() as patched:
        patched.setattr(train_stage, "fit_head", refused)
        again = train(store, truth, model, TINY)
        assert files_of(model) == before
        with read_only(model):
            assert train(store, truth, model, TINY).finished_before
        for change in ({"seed": 1}, {"epochs": 2}):
            with pytest.raises(AssertionError, match="computed again"):
                train(store, truth, model, replace(TINY, **change))
    assert again.text() == f"trained before, unchanged (remove the folder to train again): {first.text()}"
    assert replace(again, finished_before=False, notes=first.notes) == first
    (model / "head.safetensors").write_bytes(b"damaged")
    assert not train(store, truth, model, TINY).finished_before
    segments = [(3.0, 6.0, "x")]
    annotate(truth, {"a": ("training", 10.0, segments), "b": ("validation", 10.0, segments)})
    assert not train(store, truth, model, TINY).finished_before


def test_what_a_killed_training_has_left_is_removed(tmp_path, store, truth, monkeypatch):
    model = tmp_path / "model"
    model.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", dead_process)
        left = [partial_name(name) for name in (".train_checkpoint", "head.safetensors", "sola.safetensors")]
    for name in left:
        (model / name).write_bytes(b"half")
    train(store, truth, model, TINY)
    assert sorted(files_of(model)) == ["head.safetensors", "model.json"]


def test_a_finished_pretraining_is_not_done_again(tmp_path, monkeypatch):
    for label in ("one", "two"):
        for group in range(2):
            make.constant(tmp_path / "clips" / label / f"v_{label}_g{group:02}_c01.mp4", 20, 30, size=(48, 64))
    settings = PretrainConfig(size=32, epochs=1, batch_size=2, precision="fp32", device="cpu", validation_share=0.5)
    out = tmp_path / "weights.safetensors"
    torch.manual_seed(0)
    first = pretrain(tmp_path / "clips", out, settings)
    monkeypatch.setattr(pretrain_stage, "EncoderTrainer", refused)
    again = pretrain(tmp_path / "clips", out, settings)
    assert again.text() == f"trained before, unchanged (remove the file to train again): {first.text()}"
    with pytest.raises(AssertionError, match="computed again"):
        pretrain(tmp_path / "clips", out, replace(settings, epochs=2))
    make.constant(tmp_path / "clips" / "one" / "v_one_g00_c01.mp4", 21, 30, size=(48, 64))
    with pytest.raises(AssertionError, match="computed again"):
        pretrain(tmp_path / "clips", out, settings)


def test_a_module_of_another_process_is_not_replaced(tmp_path, store, monkeypatch):
    plain = enhance_stage.fit

    def meanwhile(*args, **kwargs):
        result = plain(*args, **kwargs)
        with monkeypatch.context() as patched:
            patched.setattr(enhance_stage, "fit", plain)
            (tmp_path / "enhanced" / ".sola_checkpoint").unlink(missing_ok=True)
            enhance_store(store, tmp_path / "enhanced", replace(SOLA, seed=1))
        return result

    monkeypatch.setattr(enhance_stage, "fit", meanwhile)
    with pytest.raises(PipelineError, match="was written by another process meanwhile"):
        enhance_store(store, tmp_path / "enhanced", SOLA)
    enhanced, summary = enhance_store(store, tmp_path / "enhanced", replace(SOLA, seed=1))
    assert (enhanced.ids(), summary.skipped) == (["a", "b", "c"], 3)


def test_an_applied_module_is_written_once_and_what_the_store_has_no_more_is_told(tmp_path, store):
    enhance_store(store, tmp_path / "fitted", SOLA)
    with read_only(tmp_path / "fitted"):
        assert enhance_store(store, tmp_path / "fitted", SOLA)[1].skipped == 3
    module = tmp_path / "fitted" / "sola.safetensors"
    enhanced, _ = enhance_store(store, tmp_path / "applied", SOLA, module_file=module)
    with read_only(tmp_path / "applied"):
        _, summary = enhance_store(store, tmp_path / "applied", SOLA, module_file=module)
    assert (summary.skipped, summary.notes) == (3, [])
    store.remove("b")
    _, summary = enhance_store(store, tmp_path / "applied", SOLA, module_file=module)
    assert summary.notes[0].startswith(f"{enhanced.path} has 1 sequence of videos that {store.path} no longer has (b)")


def test_what_a_read_only_disk_has_already_is_written(tmp_path):
    write_json(tmp_path / "a.json", {"ü": 1})
    stages = Stages(tmp_path / "run.json", lambda text: None)
    with read_only(tmp_path):
        write_json(tmp_path / "a.json", {"ü": 1})
        stages.finish("extract", "0 videos done", seconds=0)
        for name, value in (("a.json", {"ü": 2}), ("b.json", {"ü": 1})):
            with pytest.raises(OSError, match="Read-only"):
                write_json(tmp_path / name, value)


def test_an_interrupted_removal_of_results_that_are_in_the_way_is_gone_on_with(tmp_path):
    done = []

    def stages() -> Stages:
        return Stages(tmp_path / "run.json", lambda text: None)

    def interrupted() -> None:
        raise KeyboardInterrupt

    def do(given: int, clear) -> None:
        stages().do("sola", given, lambda: done.append(given) or "", result=tmp_path / "run.json", clear=clear)

    do(1, interrupted)  # nothing is in the way
    for given in (2, 2, 1):  # half-removed results count for no settings, not even for those that made them
        with pytest.raises(KeyboardInterrupt):
            do(given, interrupted)
    cleared = []
    do(1, lambda: cleared.append(1))
    do(1, interrupted)  # finished
    assert (done, cleared) == ([1, 1], [1])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("name", ["pack", "unpack", "merge", "export"])
def test_a_command_killed_at_any_step_leaves_nothing_torn_and_goes_on(tmp_path, name):
    """scripts/crash_test does many more trials."""
    from random import Random

    [victim] = [victim for victim in victims(tmp_path) if victim.name == name]
    killing = Killing(victim, tmp_path, Random(0))
    killing.kill(8)
    assert killing.violations == []
    assert killing.kills == 8
