"""The stages on real video files, with a toy encoder: what is done, skipped, made again, refused."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.stages.enhance import enhance_store
from pipeline.stages.extract import extract
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.verify import repair, verify_against_videos, verify_store
from sola.config import SolaConfig
from tests.toys import use_toy_encoder

CONFIG = ExtractConfig(workers=1)


def gray_video(path: Path, frames: int, *, fps: int = 10) -> Path:
    """A video whose frame i is gray level 8 * i (10 to 30 frames): its features are known."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "10"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for level in range(frames):
            picture = np.full((64, 64, 3), 8 * level, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def videos(tmp_path):
    for name, frames in (("a", 10), ("b", 17), ("c", 21)):
        gray_video(tmp_path / "videos" / f"{name}.mp4", frames)
    return tmp_path / "videos"


@pytest.fixture
def encoder(monkeypatch):
    return use_toy_encoder(monkeypatch)


def features_of(store: FeatureStore) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (store.path / "features").iterdir()}


def test_features_are_those_of_the_frames_at_their_times(videos, encoder, tmp_path):
    store, summary = extract([videos], tmp_path / "store", CONFIG)
    assert (summary.done, store.ids()) == (3, ["a", "b", "c"])
    # Window 8, stride 4, 4 frames: frames 1, 3, 5, 7 of each window; at the end the last frame, 16, is repeated.
    first, last = [1, 5, 9, 13, 16], [7, 11, 15, 16, 16]
    features = store.read("b").features
    assert features.shape == (5, 6)
    np.testing.assert_allclose(features[:, 0] * 255, [8 * i for i in first], atol=3)
    np.testing.assert_allclose(features[:, 3] * 255, [8 * i for i in last], atol=3)


def test_a_second_run_encodes_nothing_and_changes_nothing(videos, encoder, tmp_path):
    store, _ = extract([videos], tmp_path / "store", CONFIG)
    before, encoded = features_of(store), encoder.encoded
    _, summary = extract([videos], tmp_path / "store", CONFIG)
    assert (summary.done, summary.skipped, encoder.encoded) == (0, 3, encoded)
    assert features_of(store) == before


def test_features_do_not_depend_on_batches_order_or_workers(videos, monkeypatch, tmp_path):
    results = []
    for number, (batch_size, workers) in enumerate([(1, 1), (4, 2), (64, 3)]):
        use_toy_encoder(monkeypatch, batch_size=batch_size)
        inputs = sorted(videos.iterdir(), reverse=number == 1)
        store, _ = extract(inputs, tmp_path / f"store{number}", ExtractConfig(workers=workers))
        results.append(features_of(store))
    assert results[0] == results[1] == results[2]


def test_what_was_lost_between_array_and_sidecar_is_made_again_and_equal(videos, encoder, tmp_path):
    store, _ = extract([videos], tmp_path / "store", CONFIG)
    before = features_of(store)
    store.sidecar_path("a").unlink()
    _, summary = extract([videos], tmp_path / "store", CONFIG)
    assert (summary.done, summary.skipped) == (1, 2)
    assert features_of(store) == before


def test_what_does_not_check_is_repaired_by_running_the_stage_again(videos, encoder, tmp_path):
    store, _ = extract([videos], tmp_path / "store", CONFIG)
    before = features_of(store)
    data = bytearray(store.array_path("c").read_bytes())
    data[-3] ^= 64
    store.array_path("c").write_bytes(bytes(data))
    problems = verify_store(store, deep=True)
    assert [(p.id, p.kind) for p in problems] == [("c", "hash")]
    repair(problems)
    extract([videos], tmp_path / "store", CONFIG)
    assert features_of(store) == before


def test_a_video_whose_file_has_changed_is_made_again_and_counted(videos, encoder, tmp_path):
    extract([videos], tmp_path / "store", CONFIG)
    gray_video(videos / "b.mp4", 29)
    store, summary = extract([videos], tmp_path / "store", CONFIG)
    assert (summary.done, summary.changed, summary.skipped) == (1, 1, 2)
    assert store.read("b").features.shape == (8, 6)


def test_a_touched_file_of_equal_content_is_not_made_again(videos, encoder, tmp_path):
    extract([videos], tmp_path / "store", CONFIG)
    (videos / "b.mp4").touch()
    _, summary = extract([videos], tmp_path / "store", CONFIG)
    assert (summary.done, summary.skipped) == (0, 3)


def test_a_bad_video_costs_only_itself_and_is_not_tried_again_unless_asked(videos, encoder, tmp_path):
    (videos / "bad.mp4").write_text("this is no video")
    store, summary = extract([videos], tmp_path / "store", CONFIG)
    assert store.ids() == ["a", "b", "c"]
    assert list(summary.failed) == store.failed_ids() == ["bad"]
    assert store.failure("bad")["kind"] == "unreadable"
    _, again = extract([videos], tmp_path / "store", CONFIG)
    assert "--retry-failed" in again.failed["bad"]
    assert store.failure("bad")["attempts"] == 1
    extract([videos], tmp_path / "store", ExtractConfig(workers=1, retry_failed=True))
    assert store.failure("bad")["attempts"] == 2
    gray_video(videos / "bad.mp4", 12)  # mended: another content, so it is tried without being asked
    _, mended = extract([videos], tmp_path / "store", CONFIG)
    assert (mended.done, mended.failed, store.failed_ids()) == (1, {}, [])


def test_other_settings_into_a_store_are_refused_by_name(videos, encoder, tmp_path):
    extract([videos], tmp_path / "store", CONFIG)
    with pytest.raises(PipelineError, match=r"rows.stride_frames: '4' here, '2' there"):
        extract([videos], tmp_path / "store", ExtractConfig(workers=1, stride_frames=2))


def test_verification_against_the_videos_finds_missing_and_superfluous_ones(videos, encoder, tmp_path):
    store, _ = extract([videos], tmp_path / "store", CONFIG)
    (videos / "a.mp4").rename(videos / "new.mp4")
    found = {(p.id, p.kind) for p in verify_against_videos(store, [videos])}
    assert found == {("new", "missing"), ("a", "superfluous")}


def small_sola(**changes) -> SolaConfig:
    return SolaConfig(**{"hidden": 8, "predictor_hidden": 8, "steps": 5, "device": "cpu", **changes})


def test_enhanced_store_has_the_same_ids_and_shapes_and_points_back(videos, encoder, tmp_path):
    store, _ = extract([videos], tmp_path / "store", CONFIG)
    enhanced, summary = enhance_store(store, tmp_path / "enhanced", small_sola())
    assert enhanced.ids() == store.ids() == ["a", "b", "c"]
    assert summary.done == 3
    for video_id in store.ids():
        plain, other = store.read(video_id), enhanced.read(video_id)
        assert plain.features.shape == other.features.shape
        assert other.sidecar["enhanced_from"] == {"array_sha256": plain.sidecar["sha256"]}
        assert other.sidecar["duration_seconds"] == plain.sidecar["duration_seconds"]
    assert verify_store(enhanced, deep=True) == []
    assert (tmp_path / "enhanced" / "sola.safetensors").is_file()


def test_enhancing_again_fits_nothing_and_takes_up_what_is_missing(videos, encoder, tmp_path):
    store, _ = extract([videos], tmp_path / "store", CONFIG)
    enhanced, _ = enhance_store(store, tmp_path / "enhanced", small_sola())
    before = features_of(enhanced)
    enhanced.sidecar_path("b").unlink()
    _, summary = enhance_store(store, tmp_path / "enhanced", small_sola())
    assert (summary.done, summary.skipped) == (1, 2)
    assert features_of(enhanced) == before


def test_a_fitted_module_is_applied_to_another_store(videos, encoder, tmp_path):
    store, _ = extract([videos], tmp_path / "store", CONFIG)
    enhanced, _ = enhance_store(store, tmp_path / "enhanced", small_sola())
    module = tmp_path / "enhanced" / "sola.safetensors"
    other, _ = enhance_store(store, tmp_path / "applied", SolaConfig(), module_file=module)
    assert features_of(other) == features_of(enhanced)


def test_enhancing_with_other_settings_into_a_store_is_refused(videos, encoder, tmp_path):
    store, _ = extract([videos], tmp_path / "store", CONFIG)
    enhanced, _ = enhance_store(store, tmp_path / "enhanced", small_sola())
    with pytest.raises(PipelineError, match=r"target_sharpness: 16\.0 there, 4\.0 asked for"):
        enhance_store(store, tmp_path / "enhanced", small_sola(target_sharpness=4.0))
    with pytest.raises(PipelineError, match="already enhanced"):
        enhance_store(enhanced, tmp_path / "twice", small_sola())


def test_a_store_without_features_cannot_be_enhanced(videos, encoder, tmp_path):
    for video in videos.iterdir():
        video.write_text("no video")
    store, _ = extract([videos], tmp_path / "store", CONFIG)
    with pytest.raises(PipelineError, match="has no features yet"):
        enhance_store(store, tmp_path / "enhanced", small_sola())


def test_sidecar_names_source_decoder_and_libraries(videos, encoder, tmp_path):
    store, _ = extract([videos], tmp_path / "store", CONFIG)
    sidecar = json.loads(store.sidecar_path("a").read_text())
    assert sidecar["source"]["bytes"] == (videos / "a.mp4").stat().st_size
    assert len(sidecar["source"]["sha256"]) == 64
    assert sidecar["decoder"]["backend"] in ("decord", "pyav")
    assert sidecar["decoder"]["corrupt_frames"] == 0
    assert sidecar["duration_exact"] == "1"
    assert "torch" in sidecar["libraries"]
