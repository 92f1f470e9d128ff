"""Features of a video whose file has changed since."""

import json
import os
from pathlib import Path

import pytest

from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.video_status import source_of
from pipeline.stages.enhance import enhance_store
from pipeline.stages.extract import extract
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.contents import totals
from pipeline.store.tools.verify import repair, verify_against_videos, verify_store
from pipeline.video.events import Failed
from pipeline.video.videos import VideoFile
from sola.config import SolaConfig
from tests.pipeline.stages.test_stages import gray_video
from tests.toys import use_toy_encoder

CONFIG = ExtractConfig(workers=1)


@pytest.fixture
def video(tmp_path, monkeypatch) -> Path:
    use_toy_encoder(monkeypatch)
    gray_video(tmp_path / "videos" / "b.mp4", 8)
    return gray_video(tmp_path / "videos" / "a.mp4", 10)


def run(tmp_path: Path, config: ExtractConfig = CONFIG):
    return extract([tmp_path / "videos"], tmp_path / "store", config)


def kinds(problems) -> list[tuple[str, str]]:
    return [(problem.id, problem.kind) for problem in problems]


def test_a_changed_video_that_fails_takes_its_old_features_out_of_use(tmp_path, video):
    run(tmp_path)
    video.write_text("no video any more")
    store, summary = run(tmp_path)
    assert (store.ids(), store.failed_ids()) == (["b"], ["a"])
    assert summary.failed["a"].endswith("; its features, of the file as it was before, were removed")
    assert summary.text() == "0 videos done, 1 were done before, 1 failed (unreadable 1); 0 snippets"
    assert "removed" not in store.failure("a")["reason"]
    assert not store.array_path("a").exists()
    found = totals(store)
    assert (found.videos, found.failures, found.incomplete) == (1, {"unreadable": 1}, 0)
    assert verify_store(store, deep=True) == []


def test_verify_notices_a_source_that_has_changed(tmp_path, video):
    store, _ = run(tmp_path)
    enhanced, _ = enhance_store(store, tmp_path / "enhanced", SolaConfig(hidden=4, steps=2, device="cpu"))
    video.touch()
    assert verify_store(store) == []  # the same content
    gray_video(video, 20)
    assert kinds(verify_store(store)) == kinds(verify_store(enhanced)) == [("a", "changed")]
    assert verify_against_videos(store, [tmp_path / "videos"]) == []  # it is told once
    assert repair(verify_store(enhanced)) == 0  # it would be made from the same features again
    assert repair(verify_store(store)) == 2
    assert run(tmp_path)[1].done == 1
    assert verify_store(store) == []
    video.unlink()
    assert verify_store(store) == []  # a video that is gone is no fault


def test_verify_compares_videos_that_have_moved(tmp_path, video):
    store, _ = run(tmp_path)
    (tmp_path / "videos").rename(tmp_path / "moved")
    assert verify_against_videos(store, [tmp_path / "moved"]) == []
    gray_video(tmp_path / "moved" / "a.mp4", 20)
    assert kinds(verify_against_videos(store, [tmp_path / "moved"])) == [("a", "changed")]


@pytest.mark.parametrize("source", [None, 7, [], {"path": 7, "modified_ns": 1}, {"path": "\0", "modified_ns": 1}])
def test_a_sidecar_without_a_usable_source_is_made_again(tmp_path, video, source):
    store, _ = run(tmp_path)
    path = store.sidecar_path("a")
    path.write_text(json.dumps({**json.loads(path.read_text()), "source": source}))
    assert verify_store(store) == []
    verify_against_videos(store, [tmp_path / "videos"])
    assert run(tmp_path)[1].done == 1


def test_what_an_older_version_has_left_both_done_and_failed_is_told_once_and_mended(tmp_path, video):
    store, _ = run(tmp_path)
    video.write_text("no video any more")
    source = source_of(VideoFile("a", video))
    store.write_failure("a", kind="unreadable", reason="made up", source=source)
    assert (totals(store).videos, totals(store).failures) == (2, {})
    assert kinds(verify_store(store)) == [("a", "changed")]
    store, summary = run(tmp_path)
    assert (store.ids(), list(summary.failed)) == (["b"], ["a"])
    assert "were removed" in summary.failed["a"]
    assert "removed" not in run(tmp_path)[1].failed["a"]


def test_a_file_that_cannot_be_read_keeps_its_features(tmp_path, video, monkeypatch):
    store, _ = run(tmp_path)
    os.utime(video, (1, 1))  # so that its content is to be compared

    def unreadable(path):
        raise PermissionError(13, "Permission denied", str(path))

    def failing(videos, *_, **__):
        for found in videos:
            yield Failed(found, "unreadable", "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.extraction.video_status.sha256_of_file", unreadable)
        patch.setattr("pipeline.storage.stamps.sha256_of_file", unreadable)
        patch.setattr("pipeline.stages.extract.encode_videos", failing)
        _, summary = run(tmp_path)
    assert summary.failed["a"].startswith("unreadable: Permission denied; its features stay")
    store = FeatureStore.open(tmp_path / "store")
    assert (store.ids(), store.failed_ids()) == (["a", "b"], [])
    assert run(tmp_path)[1].skipped == 2


def test_changed_videos_count_as_made_again_only_when_they_are(tmp_path, video):
    run(tmp_path)
    gray_video(video, 20)
    (tmp_path / "videos" / "b.mp4").write_text("no video any more")
    _, summary = run(tmp_path)
    assert (summary.done, summary.changed, list(summary.failed)) == (1, 1, ["b"])
