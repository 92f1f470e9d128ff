"""Dry runs: their text, and the accuracy of their estimates."""

import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.planning import estimate as subject
from pipeline.planning.estimate import estimate, extrapolate
from pipeline.planning.speed import encoder_speed
from pipeline.stages.extract import extract
from tests import videos as make
from tests.toys import ToyEncoder, toy_store_spec, use_toy_encoder

CONFIG = ExtractConfig(workers=1)


@pytest.fixture
def encoder(monkeypatch) -> ToyEncoder:
    encoder = use_toy_encoder(monkeypatch)
    monkeypatch.setattr(subject, "open_encoder", lambda config: (encoder, toy_store_spec(config)))
    return encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("videos")
    for number in range(12):
        make.constant(path / f"v{number:02}.mp4", 10 + 30 * number, 10, b_frames=0)
    return path


def files_below(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_all_videos_probed_give_exact_seconds_and_snippets(folder, encoder):
    result = estimate([folder], None, CONFIG, sample=100)
    frames = [10 + 30 * number for number in range(12)]
    assert result.video_seconds == sum(frames) / 10
    assert result.snippets == sum(math.ceil(count / 4) for count in frames)  # one every 4 frames
    assert (result.margin, result.probed, len(result.to_do)) == (0, 12, 12)


def test_a_sample_foresees_what_extraction_then_does_within_its_margin(folder, encoder, tmp_path):
    result = estimate([folder], None, CONFIG, sample=6)
    _, summary = extract([folder], tmp_path / "store", CONFIG)
    assert result.probed == 6
    assert 0 < result.margin < 1
    assert abs(result.snippets / summary.snippets - 1) <= result.margin
    assert result.snippets == pytest.approx(summary.snippets, rel=0.25)
    rows_on_disk = sum(path.stat().st_size for path in (tmp_path / "store" / "features").iterdir())
    assert result.megabytes * 1e6 == pytest.approx(rows_on_disk, rel=0.5)


def test_done_failed_and_changed_videos_are_told_apart_and_nothing_is_written(folder, encoder, tmp_path):
    inputs = tmp_path / "videos"
    inputs.mkdir()
    for name in ("v00", "v01", "v02"):
        (inputs / f"{name}.mp4").write_bytes((folder / f"{name}.mp4").read_bytes())
    (inputs / "bad.mp4").write_text("no video")
    extract([inputs], tmp_path / "store", CONFIG)
    (inputs / "v01.mp4").write_bytes((folder / "v03.mp4").read_bytes())
    (inputs / "new.mp4").write_bytes((folder / "v04.mp4").read_bytes())
    before = files_below(tmp_path)
    result = estimate([inputs], tmp_path / "store", CONFIG)
    assert (result.done, list(result.failed), result.to_do) == (("v00", "v02"), ["bad"], ("new", "v01"))
    assert result.changed == 1
    assert result.video_seconds == (100 + 130) / 10
    again = estimate([inputs], tmp_path / "store", ExtractConfig(workers=1, retry_failed=True))
    assert (again.to_do, list(again.unusable)) == (("bad", "new", "v01"), ["bad"])
    assert files_below(tmp_path) == before
    assert "to do: new" in result.lines()


def test_a_store_of_other_settings_is_refused_as_extraction_would(folder, encoder, tmp_path):
    extract([folder / "v00.mp4"], tmp_path / "store", CONFIG)
    with pytest.raises(PipelineError, match=r"rows.stride_frames: '4' here, '2' there"):
        estimate([folder], tmp_path / "store", ExtractConfig(workers=1, stride_frames=2))


def test_shards_share_the_videos_out(folder, encoder):
    parts = [estimate([folder], None, ExtractConfig(shard=f"{i}/3"), sample=1).to_do for i in (1, 2, 3)]
    assert sorted(sum(parts, ())) == [f"v{number:02}" for number in range(12)]


def test_extrapolation_is_the_ratio_estimate_and_its_margin_covers_the_truth():
    # By hand: ratio (1 + 5) / (1 + 3) = 1.5; residuals -0.5 and 0.5, their variance 0.5; members are 3 / 2 times as
    # large as those of the sample: error = 4 * 1.5 * sqrt((1 - 2/4) * 0.5 / 2) = 1.5 sqrt(2); t of one degree is 9.7.
    total, margin = extrapolate([1, 5], [1, 3], total=12, population=4)
    assert total == 18
    assert margin == pytest.approx(9.711 * 1.5 * math.sqrt(2) / 18, rel=1e-3)
    random, covered = np.random.default_rng(0), 0
    for _ in range(400):
        sizes = random.lognormal(sigma=0.5, size=200)
        values = sizes * random.uniform(0.5, 1.5, 200)
        chosen = random.choice(200, 8, replace=False)
        total, margin = extrapolate(values[chosen], sizes[chosen], total=sizes.sum(), population=200)
        covered += abs(values.sum() - total) <= margin * total
    assert 0.88 < covered / 400 < 0.98  # 95% of large samples; eight of a skewed population fall a bit short


def test_margin_is_nothing_for_all_and_unknown_for_one_of_many():
    assert extrapolate([3, 4], [1, 9], total=10, population=2) == (7, 0)
    assert extrapolate([3], [1], total=10, population=5) == (30, math.inf)
    assert extrapolate([], [], total=0, population=0) == (0, 0)
    assert extrapolate([0, 0], [0, 0], total=0, population=5) == (0, math.inf)


def test_encoder_speed_counts_snippets_not_batches(monkeypatch):
    encoder = ToyEncoder(batch_size=4)
    clock = iter(range(1000))
    monkeypatch.setattr("pipeline.planning.speed.time.perf_counter", lambda: next(clock) * 0.5)
    # Start at 0; one look after two batches says 0.5 s, one after three 1.0 s, the last reading is 1.5 s.
    assert encoder_speed(encoder, toy_store_spec(CONFIG).plan) == 3 * 4 / 1.5
    assert encoder.encoded == 4 * 4  # one batch to warm up
