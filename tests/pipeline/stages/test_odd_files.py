"""Videos that change or go while the stage works, and odd names of files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.stages import extract as stage
from pipeline.stages.extract import extract
from pipeline.store.tools.verify import verify_store
from tests import videos as make
from tests.pipeline.stages.test_interruption import CONFIG, FRAMES
from tests.toys import ToyEncoder, toy_store_spec, use_toy_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("videos")
    for name, frames in FRAMES.items():
        make.constant(path / f"{name}.mp4", frames, 10)
    return path


def test_a_file_that_changes_while_it_is_read_is_not_believed_and_taken_anew(tmp_path, monkeypatch):
    video = make.constant(tmp_path / "videos" / "a.mp4", 10, 10)
    longer = make.constant(tmp_path / "longer.mp4", 21, 10)

    class Meddler(ToyEncoder):
        def encode(self, snippets):
            if longer.exists():
                longer.replace(video)
            return super().encode(snippets)

    encoder = Meddler()
    use_toy_encoder(monkeypatch)
    monkeypatch.setattr(stage, "open_encoder", lambda config: (encoder, toy_store_spec(config)))
    store, summary = extract([video], tmp_path / "store", CONFIG)
    assert (store.ids(), summary.failed["a"].split(":")[0]) == ([], "changed")
    _, again = extract([video], tmp_path / "store", CONFIG)
    assert (again.done, store.failed_ids(), len(store.read("a").features)) == (1, [], 6)


def test_a_changed_video_that_fails_is_not_tried_again_at_every_run(folder, tmp_path, monkeypatch):
    use_toy_encoder(monkeypatch)
    video = tmp_path / "a.mp4"
    video.write_bytes((folder / "a.mp4").read_bytes())
    extract([video], tmp_path / "store", CONFIG)
    video.write_text("no video any more")
    store, _ = extract([video], tmp_path / "store", CONFIG)
    _, again = extract([video], tmp_path / "store", CONFIG)
    assert "earlier" in again.failed["a"]
    assert store.failure("a")["attempts"] == 1


def test_a_name_too_long_for_a_file_is_shortened(folder, tmp_path, monkeypatch):
    use_toy_encoder(monkeypatch)
    long = tmp_path / f"{'很' * 80}.mp4"
    long.write_bytes((folder / "a.mp4").read_bytes())
    store, summary = extract([long, folder / "b.mp4"], tmp_path / "store", CONFIG)
    assert (store.ids(), summary.done, summary.failed) == (["b", long.stem], 2, {})


def test_names_that_are_not_utf8_cost_nothing(folder, tmp_path, monkeypatch):
    use_toy_encoder(monkeypatch)
    odd = tmp_path / os.fsdecode(b"folder \xff")
    odd.mkdir()
    for name in (b"caf\xe9.mp4", b"plain.mp4"):
        (odd / os.fsdecode(name)).write_bytes((folder / "a.mp4").read_bytes())
    store, summary = extract([odd], tmp_path / "store", CONFIG)
    assert (summary.done, store.ids()) == (2, ["caf\udce9", "plain"])
    assert store.read("caf\udce9").sidecar["source"]["path"] == str(odd / "caf\udce9.mp4")
    assert (tmp_path / "store" / "features" / "caf%E9.npy").is_file()
    assert verify_store(store, deep=True) == []
    _, again = extract([odd], tmp_path / "store", CONFIG)
    assert (again.done, again.skipped) == (0, 2)
    command = [sys.executable, "-m", "pipeline", "store", "ls", str(tmp_path / "store")]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "caf\\udce9" in listed.stdout and "plain" in listed.stdout


def test_a_done_video_that_can_no_longer_be_read_does_not_end_the_job(folder, tmp_path, monkeypatch):
    use_toy_encoder(monkeypatch)
    copies = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for copy in copies:
        copy.write_bytes((folder / copy.name).read_bytes())
    extract(copies[:1], tmp_path / "store", CONFIG)
    copies[0].touch()  # so that its content would have to be compared

    def unreadable(path):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.extraction.video_status.sha256_of_file", unreadable)
        patch.setattr("pipeline.storage.stamps.sha256_of_file", unreadable)
        _, summary = extract(copies, tmp_path / "store", CONFIG)
    assert summary.done == 2  # made again: it may have changed
