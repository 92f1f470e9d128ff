"""The stages on videos and stores in object storage: the same bytes as local ones, few requests, bounded copies."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import LocalizeConfig
from pipeline.detection.model import load_model
from pipeline.errors import StorageError
from pipeline.extraction.config import ExtractConfig
from pipeline.stages.enhance import enhance_store
from pipeline.stages.extract import extract
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from pipeline.storage.location import RemotePath
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.verify import verify_against_videos, verify_store
from pipeline.store.window_source import StoreSource
from pipeline.video.find import find_videos
from pipeline.video.videos import VideoFile
from sola.config import SolaConfig
from tests.pipeline.stages.test_localize import TINY, write_annotations
from tests.pipeline.stages.test_stages import gray_video
from tests.remote import files_of, put, remote
from tests.stores import make_store
from tests.toys import use_toy_encoder

CONFIG = ExtractConfig(workers=2)
SOLA = SolaConfig(hidden=8, predictor_hidden=8, steps=5, device="cpu")


@pytest.fixture
def videos(bucket, tmp_path, monkeypatch) -> Path:
    """Five local videos, and memory://bucket/videos with the same."""
    use_toy_encoder(monkeypatch)
    for name, frames in (("a", 27), ("b", 28), ("c", 26), ("d", 30), ("e", 29)):
        gray_video(tmp_path / "videos" / "below" / f"{name}.mp4", frames)
    put(tmp_path / "videos", bucket / "videos")
    return tmp_path / "videos"


def there() -> RemotePath:
    return remote("memory://bucket/videos")


def without_curve(folder) -> dict[str, bytes]:
    """The files of an enhanced store; an SVG differs from one drawing to the next."""
    return {name: data for name, data in files_of(folder).items() if not name.endswith(".svg")}


def arrays_of(store: FeatureStore) -> dict[str, bytes]:
    return {name: data for name, data in files_of(store.path).items() if name.endswith(".npy")}


def test_remote_videos_make_the_store_that_local_ones_make(videos, bucket, tmp_path):
    here, _ = extract([videos], tmp_path / "store", CONFIG)
    store, summary = extract([there()], bucket / "store", CONFIG)
    assert (summary.done, store.ids()) == (5, ["a", "b", "c", "d", "e"])
    assert arrays_of(store) == arrays_of(here)
    ours, theirs = here.sidecar("b"), FeatureStore.open(remote("memory://bucket/store")).sidecar("b")
    source = theirs.pop("source")
    assert source["path"] == "memory://bucket/videos/below/b.mp4"
    assert source["etag"]
    assert {name: source[name] for name in ("bytes", "sha256")} == {
        name: ours["source"][name] for name in ("bytes", "sha256")
    }
    assert {name: value for name, value in ours.items() if name != "source"} == theirs
    assert verify_store(store, deep=True) == []
    assert verify_against_videos(store, [there()]) == []
    events = [json.loads(line)["event"] for name, data in files_of(store.path).items() if name.startswith("logs/")
              for line in data.decode().splitlines()]  # fmt: skip
    assert events == ["start", *["done"] * 5, "end"]
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []  # no copy is left behind


def test_the_next_run_fetches_nothing_and_takes_up_what_is_new_or_changed(videos, bucket, tmp_path, requests):
    extract([there()], bucket / "store", CONFIG)
    requests.clear()
    _, summary = extract([there()], remote("memory://bucket/store"), CONFIG)
    assert (summary.done, summary.skipped) == (0, 5)
    assert requests["get_file"] == requests["info"] == 0
    assert requests["put_file"] == 1  # the log
    gray_video(tmp_path / "b.mp4", 12)
    (bucket / "videos" / "below" / "b.mp4").upload(tmp_path / "b.mp4")
    (bucket / "videos" / "f.mp4").upload(tmp_path / "b.mp4")
    (bucket / "videos" / "a.txt").upload(tmp_path / "b.mp4")  # no video
    store, summary = extract([there()], remote("memory://bucket/store"), CONFIG)
    assert (summary.done, summary.changed, summary.skipped) == (2, 1, 4)
    assert len(store.read("b").features) == 3


def test_what_another_machine_has_done_meanwhile_is_not_done_again(videos, bucket, monkeypatch):
    encoder = use_toy_encoder(monkeypatch)
    first, _ = extract([there()], remote("memory://bucket/store"), ExtractConfig(workers=1, shard="1/2"))
    stale = FeatureStore.create(remote("memory://bucket/store"), first.spec)
    extract([there()], remote("memory://bucket/store"), CONFIG)
    done = encoder.encoded
    assert len(stale.ids()) < 5
    monkeypatch.setattr(FeatureStore, "create", lambda *_, **__: stale)
    _, summary = extract([there()], remote("memory://bucket/store"), CONFIG)
    assert (summary.done, summary.skipped, encoder.encoded) == (0, 5, done)


def without_b(plain):
    """Make a download that fails for b.mp4."""

    def download(self, target, **options):
        if self.name == "b.mp4":
            raise StorageError(f"{self}: no answer")
        plain(self, target, **options)

    return download


def test_a_video_that_cannot_be_had_costs_only_itself(videos, bucket, tmp_path, monkeypatch):
    (tmp_path / "x.mp4").write_text("no video")
    put(tmp_path / "x.mp4", bucket / "videos" / "x.mp4")
    plain = without_b(RemotePath.download)

    def download(self, target, **options):
        if self.name == "c.mp4":
            target.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        plain(self, target, **options)

    monkeypatch.setattr(RemotePath, "download", download)
    store, summary = extract([there()], bucket / "store", CONFIG)
    assert store.ids() == ["a", "d", "e"]
    kinds = {video_id: reason.split(":")[0] for video_id, reason in summary.failed.items()}
    assert kinds == {"b": "not_fetched", "c": "disk_full", "x": "unreadable"}
    assert store.failed_ids() == ["b", "c", "x"]
    assert "(No space left on device)" in summary.failed["c"]  # and no name that differs from run to run
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_copies_of_videos_stay_within_the_limit(videos, bucket, tmp_path, monkeypatch):
    sizes = {path.stem: path.stat().st_size for path in videos.rglob("*.mp4")}
    limit = max(sizes.values()) + min(sizes.values())
    monkeypatch.setenv("SOLA_CACHE_GIGABYTES", str(limit / 1e9))
    held = []
    plain = RemotePath.download

    def download(self, target, **options):
        plain(self, target, **options)
        held.append(sum(path.stat().st_size for path in target.parent.iterdir()))

    monkeypatch.setattr(RemotePath, "download", download)
    _, summary = extract([there()], bucket / "store", CONFIG)
    assert summary.done == 5
    assert max(held) <= limit
    assert len(held) == 5


def test_folders_objects_and_lists_name_remote_videos(videos, bucket, tmp_path):
    text = tmp_path / "list.txt"
    text.write_text("memory://bucket/videos/below/a.mp4\n# b\nvideos/below/b.mp4\n")
    found = find_videos([text])
    assert [video.id for video in found] == ["a", "b"]
    assert (str(found[0].path), found[1].path) == (
        "memory://bucket/videos/below/a.mp4",
        tmp_path / "videos/below/b.mp4",
    )
    text.write_text("below/c.mp4\n")
    put(text, bucket / "videos" / "list.txt")
    assert list(find_videos([there() / "list.txt"], ids="path")) == [VideoFile("below/c", there() / "below/c.mp4")]
    assert [video.id for video in find_videos([there()], ids="path")] == [f"below/{name}" for name in "abcde"]
    assert list(find_videos([there() / "below" / "a.mp4"])) == [VideoFile("a", there() / "below/a.mp4")]


@pytest.mark.parametrize("gigabytes", ["1", "1e-6"])  # all sequences are copied, or none
def test_windows_are_those_of_a_local_store(bucket, tmp_path, monkeypatch, requests, gigabytes):
    monkeypatch.setenv("SOLA_CACHE_GIGABYTES", gigabytes)
    arrays = {f"v{n}": np.random.default_rng(n).random((300 + n, 4), dtype=np.float32) for n in range(5)}
    here, store = make_store(tmp_path / "store", arrays), make_store(bucket / "store", arrays)
    local, source = StoreSource(here), StoreSource(store)
    requests.clear()
    windows = [(4, 0, 304), (0, 10, 33), (1, 299, 301), (0, 10, 33)]
    source.prefetch(windows)
    for window in [*windows, (2, 5, 9)]:
        np.testing.assert_array_equal(source.rows(*window), local.rows(*window))
    assert [source.length(n) for n in range(5)] == [300, 301, 302, 303, 304]
    if gigabytes == "1":
        assert requests["get_file"] == 4  # one for each sequence that was asked for
    else:
        assert requests == {"cat_ranges": 2}  # one for all windows that were expected, one for the last


@pytest.mark.parametrize("comparison", ["none", "center"])
def test_sola_on_remote_stores_makes_the_bytes_of_local_ones(videos, bucket, tmp_path, monkeypatch, comparison):
    monkeypatch.setenv("SOLA_CACHE_GIGABYTES", "3e-7")  # two of the five sequences
    settings = SolaConfig(hidden=8, predictor_hidden=8, steps=5, device="cpu", normalize=comparison)
    here, _ = extract([videos], tmp_path / "store", ExtractConfig(workers=1, stride_frames=2.5))
    put(tmp_path / "store", bucket / "store")
    enhance_store(here, tmp_path / "enhanced", settings)
    store = FeatureStore.open(remote("memory://bucket/store"))
    enhanced, summary = enhance_store(store, bucket / "enhanced", settings)
    assert without_curve(enhanced.path) == without_curve(tmp_path / "enhanced")
    assert summary.done == 5
    _, again = enhance_store(store, remote("memory://bucket/enhanced"), settings)
    assert (again.done, again.skipped) == (0, 5)
    assert again.module.startswith("fitted before")


def test_an_interrupted_fit_into_a_remote_store_goes_on_on_this_machine(videos, bucket, tmp_path):
    extract([videos], tmp_path / "store", ExtractConfig(workers=1, stride_frames=2.5))
    store = FeatureStore.open(tmp_path / "store")
    steps = []

    def stop(done, text):
        steps.append(text)
        if text.startswith("step 3/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enhance_store(store, bucket / "enhanced", SOLA, report=stop)
    assert files_of(bucket).keys() & {"enhanced/store.json", "enhanced/sola.safetensors"} == set()
    enhance_store(store, remote("memory://bucket/enhanced"), SOLA, report=lambda done, text: steps.append(text))
    assert [text.split(",")[0] for text in steps if text.startswith("step")] == [f"step {n}/5" for n in range(1, 6)]
    enhance_store(store, tmp_path / "enhanced", SOLA)
    assert without_curve(bucket / "enhanced") == without_curve(tmp_path / "enhanced")


def test_training_and_detections_from_remote_stores_and_videos_are_those_from_local_ones(
    videos, bucket, tmp_path, monkeypatch
):
    here, _ = extract([videos], tmp_path / "store", ExtractConfig(workers=1, stride_frames=2.5))
    enhance_store(here, tmp_path / "enhanced", SOLA)
    put(tmp_path / "enhanced", bucket / "enhanced")
    truth = write_annotations(tmp_path / "a.json", a="training", b="training", c="training", d="validation")
    train(FeatureStore.open(tmp_path / "enhanced"), truth, tmp_path / "model", TINY)
    train(FeatureStore.open(remote("memory://bucket/enhanced")), truth, tmp_path / "model2", TINY)
    assert files_of(tmp_path / "model") == files_of(tmp_path / "model2")
    model = load_model(tmp_path / "model")
    expected = localize([tmp_path / "enhanced"], model, LocalizeConfig()).detections
    assert sum(map(len, expected.values())) > 0
    assert localize([remote("memory://bucket/enhanced")], model, LocalizeConfig()).detections == expected
    from_videos = localize([there()], model, LocalizeConfig())
    assert from_videos.failed == {}
    assert from_videos.detections == localize([videos], model, LocalizeConfig()).detections
    monkeypatch.setattr(RemotePath, "download", without_b(RemotePath.download))
    without = localize([there()], model, LocalizeConfig())
    assert {video_id: reason.split(":")[0] for video_id, reason in without.failed.items()} == {"b": "not_fetched"}
    assert without.detections == {i: found for i, found in from_videos.detections.items() if i != "b"}
    assert list((tmp_path / "cache" / "partial").iterdir()) == []
