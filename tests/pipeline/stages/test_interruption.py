"""Extraction that is killed: what it leaves, and how the next run continues.

scripts/crash_test does many more trials; here each kind of step comes up once.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.encode import Rows
from pipeline.stages import extract as stage
from pipeline.stages.extract import extract
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.verify import verify_store
from pipeline.video.events import Failed, Finished
from tests import ROOT
from tests import videos as make
from tests.faults import Step, Watch, disk_full_from, input_output_error_at
from tests.toys import ToyEncoder, toy_store_spec, use_toy_encoder

CONFIG = ExtractConfig(workers=1)
FRAMES = {"a": 10, "b": 17, "c": 21}  # at 10 a second, one snippet every 4: 3, 5 and 6 snippets


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("videos")
    for name, frames in FRAMES.items():
        make.constant(path / f"{name}.mp4", frames, 10)
    return path


def features_of(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (store / "features").iterdir()}


def made_up_events(videos, encoder, plan, config, *, on_pictures):
    """A fast stand-in for decoding and encoding: three rows a video, the third video fails."""
    for video in videos:
        for row in range(3):
            yield Rows(video, np.full((1, 6), len(video.path.read_bytes()) + row, dtype=np.float32))
        if video.id == "v2":
            yield Failed(video, "corrupt", "made up")
            continue
        decoder = {"backend": "pyav", "backend_version": "0", "backend_reason": "", "notes": ()}
        report = SimpleNamespace(duration=1, start_offset=0, decoded_frames=10, corrupt_frames=0, **decoder)
        yield Finished(video, SimpleNamespace(fps=10), report)


@pytest.fixture
def quick(tmp_path, monkeypatch) -> Path:
    """Make a folder of files that made_up_events accepts as videos."""
    use_toy_encoder(monkeypatch)
    monkeypatch.setattr(stage, "encode_videos", made_up_events)
    for number in range(5):
        path = tmp_path / "videos" / f"v{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * (number + 1))
    return tmp_path / "videos"


def run_watched(videos: Path, store: Path, on_step: Callable[[Step], None]) -> Watch:
    watch = Watch(on_step)
    with watch.watching():
        extract([videos], store, CONFIG)
    return watch


def in_child(work: Callable[[], object]) -> int:
    """Fork a child that does `work` and ends with 0; return its process number."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def end_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def assert_nothing_torn_is_believed(store: Path, expected: dict[str, bytes]) -> None:
    if not (store / "store.json").exists():
        return
    opened = FeatureStore.open(store)
    for problem in verify_store(opened, deep=True):  # an array without a sidecar does not count as done
        assert problem.kind == "leftover" or problem.files == (opened.array_path(problem.id),), problem
    found = features_of(store)
    for video_id in opened.ids():
        for name in (f"{video_id}.npy", f"{video_id}.json"):
            assert found[name] == expected[name]


def assert_the_next_run_completes(videos: Path, store: Path, expected: dict[str, bytes]) -> None:
    done = FeatureStore.open(store).ids() if (store / "store.json").exists() else []
    _, summary = extract([videos], store, CONFIG)
    assert summary.skipped == len(done)
    assert summary.done + len(done) == len(expected) // 2
    assert features_of(store) == expected
    assert list(store.rglob(".*.partial")) == []
    assert FeatureStore.open(store).failed_ids() == ["v2"]


pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the children use no threads


@pytest.mark.parametrize("torn", [False, True])
def test_killed_at_any_step_nothing_torn_is_believed_and_the_next_run_completes(quick, tmp_path, torn):
    watch = run_watched(quick, tmp_path / "reference", lambda step: None)
    expected = features_of(tmp_path / "reference")
    assert watch.unsynced == []
    assert len(expected) == 8
    names = {name for name in watch.names if not torn or "write" in name}
    assert {name.split()[0] for name in names} >= ({"write"} if torn else {"open", "fsync", "replace", "unlink"})
    for name in sorted(names):
        store = tmp_path / f"{name} {torn}"

        def die(step: Step, name: str = name) -> None:
            if (step.name, step.time) == (name, 0):
                if torn:
                    step.tear()
                os.kill(os.getpid(), signal.SIGKILL)

        assert end_of(in_child(lambda store=store, die=die: run_watched(quick, store, die))) == -signal.SIGKILL
        assert_nothing_torn_is_believed(store, expected)
        assert_the_next_run_completes(quick, store, expected)


@pytest.mark.parametrize("fault", [disk_full_from, input_output_error_at])
def test_a_write_that_fails_leaves_nothing_half_written(quick, tmp_path, fault):
    watch = run_watched(quick, tmp_path / "reference", lambda step: None)
    expected = features_of(tmp_path / "reference")
    for name in sorted(set(watch.names)):
        store = tmp_path / name
        failed = end_of(in_child(lambda store=store, name=name: run_watched(quick, store, fault(name)))) == 1
        # The job does not need to close and remove what it discards.
        assert failed or name in ("close array", "unlink array"), name
        if not name.startswith("unlink"):
            assert list(store.rglob(".*.partial")) == [], name
        assert_nothing_torn_is_believed(store, expected)
        assert_the_next_run_completes(quick, store, expected)


@pytest.mark.parametrize("killed", [False, True])
def test_two_processes_on_one_store_make_what_one_makes(quick, tmp_path, killed):
    extract([quick], tmp_path / "reference", CONFIG)
    expected = features_of(tmp_path / "reference")
    ends = []
    for place in range(5, 95, 9):
        store = tmp_path / f"store {place}"

        def die(step: Step, place: int = place) -> None:
            if killed and step.number == place:
                os.kill(os.getpid(), signal.SIGKILL)

        first = in_child(lambda store=store, die=die: run_watched(quick, store, die))
        second = in_child(lambda store=store: extract([quick], store, CONFIG))
        ends.append(end_of(first))
        assert end_of(second) == 0
        assert features_of(store).keys() >= expected.keys()
        assert_nothing_torn_is_believed(store, expected)
        assert_the_next_run_completes(quick, store, expected)
    # If the other process was faster, the first had little left to do, and ended before its step.
    assert set(ends) <= ({-signal.SIGKILL, 0} if killed else {0})
    assert (-signal.SIGKILL in ends) == killed


def assert_ended_by_a_signal(code: object, output: str, errors: str, store: Path) -> None:
    assert code == 130
    assert output == ""
    assert errors.startswith("interrupted; what is finished is kept")
    assert errors.count("\n") == 1
    assert sorted(features_of(store)) == ["a.json", "a.npy"]


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_with_130_and_one_line_and_keeps_finished_videos(
    folder, tmp_path, which, monkeypatch, capfd
):
    class Interrupted(ToyEncoder):
        def encode(self, snippets):
            if self.encoded:  # the first video, of three snippets, was in the first batch
                wait_for(tmp_path / "store" / "features" / "a.json")
                os.kill(os.getpid(), which)
                time.sleep(0.5)  # the main thread takes the signal
            return super().encode(snippets)

    encoder = use_toy_encoder(monkeypatch)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(stage, "open_encoder", lambda config: (Interrupted(), toy_store_spec(config)))
        main(["extract", str(folder), "--out", str(tmp_path / "store"), "--workers", "1"])
    for number, handler in before.items():
        signal.signal(number, handler)
    assert_ended_by_a_signal(end.value.code, *capfd.readouterr(), tmp_path / "store")
    _, summary = extract([folder], tmp_path / "store", CONFIG)
    assert (summary.done, summary.skipped, encoder.encoded) == (2, 1, 5 + 6)


WAITING_COMMAND = """
import sys, time
import pipeline.stages.extract
from tests.toys import ToyEncoder, toy_store_spec

class Waiting(ToyEncoder):
    def encode(self, snippets):
        if self.encoded:
            exec("time.sleep(5)")  # python -m ends itself by SIGINT when a KeyboardInterrupt left such code
        return super().encode(snippets)

pipeline.stages.extract.open_encoder = lambda config: (Waiting(), toy_store_spec(config))
from pipeline.cli import main
main(sys.argv[1:])
"""


def test_sigterm_from_another_process_ends_a_waiting_command_at_once(folder, tmp_path):
    (tmp_path / "waiting_command.py").write_text(WAITING_COMMAND)
    command = [sys.executable, "-m", "waiting_command", "extract", str(folder), "--out", str(tmp_path / "store")]
    root = ROOT
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "--workers", "1"], env=environment, **pipes) as process:
        wait_for(tmp_path / "store" / "features" / "a.json")
        process.terminate()
        output, errors = process.communicate(timeout=30)
    assert_ended_by_a_signal(process.returncode, output, errors, tmp_path / "store")
