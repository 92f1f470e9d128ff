"""What is left when extraction is ended from outside, and what the next run makes of it."""

from pathlib import Path

import pytest

from pipeline import extract as stage
from pipeline import sources
from pipeline.config import ExtractConfig
from pipeline.extract import extract
from tests import videos as make
from tests.toys import ToyEncoder, use_toy_encoder

CONFIG = ExtractConfig(workers=1)
FRAMES = {"a": 10, "b": 17, "c": 21}  # at 10 a second, one snippet every 4: 3, 5 and 6 snippets


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
    monkeypatch.setattr(stage, "open_encoder", lambda config: (encoder, spec_of(config)))
    store, summary = extract([video], tmp_path / "store", CONFIG)
    assert (store.ids(), summary.failed["a"].split(":")[0]) == ([], "changed")
    _, again = extract([video], tmp_path / "store", CONFIG)
    assert (again.done, store.failed_ids(), len(store.read("a").features)) == (["a"], [], 6)


def spec_of(config):
    from tests.toys import toy_store_spec

    return toy_store_spec(config)


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


def test_a_name_too_long_for_a_store_costs_only_that_video(folder, tmp_path, monkeypatch):
    use_toy_encoder(monkeypatch)
    long = tmp_path / f"{'很' * 80}.mp4"
    long.write_bytes((folder / "a.mp4").read_bytes())
    store, summary = extract([long, folder / "b.mp4"], tmp_path / "store", CONFIG)
    assert store.ids() == summary.done == ["b"]
    assert summary.failed[long.stem].startswith("bad_id: video id must have 1 to")


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
        patch.setattr(sources, "sha256_of_file", unreadable)
        _, summary = extract(copies, tmp_path / "store", CONFIG)
    assert sorted(summary.done) == ["a", "b"]  # made again: nobody can say that it is the same
