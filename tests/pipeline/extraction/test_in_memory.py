"""Feature sequences in memory equal those of a store."""

import numpy as np
import pytest

import pipeline
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.stages.extract import extract
from tests.pipeline.stages.test_stages import gray_video
from tests.toys import use_toy_encoder


@pytest.fixture
def videos(tmp_path, monkeypatch):
    use_toy_encoder(monkeypatch)
    for name, frames in (("a", 10), ("b", 17)):
        gray_video(tmp_path / "videos" / f"{name}.mp4", frames)
    return tmp_path / "videos"


def test_a_folder_gives_what_extract_stores(videos, tmp_path):
    store, _ = extract([videos], tmp_path / "store", ExtractConfig(workers=1))
    sequences = {sequence.id: sequence for sequence in pipeline.encode_folder([videos], workers=1)}
    assert sorted(sequences) == store.ids()
    for video_id, sequence in sequences.items():
        stored = store.read(video_id)
        np.testing.assert_array_equal(sequence.features, stored.features)
        assert sequence.duration_seconds == stored.duration_seconds
        assert sequence.sidecar["rows"] == stored.sidecar["rows"]


def test_one_video(videos):
    assert pipeline.encode_video(videos / "b.mp4", workers=1).features.shape == (5, 6)


def test_a_bad_video_is_reported_or_skipped(videos):
    (videos / "bad.mp4").write_text("no video")
    with pytest.raises(PipelineError, match=r"bad\.mp4: unreadable: "):
        pipeline.encode_video(videos / "bad.mp4", workers=1)
    told = []
    failures = pipeline.encode_folder([videos], workers=1, on_failure=lambda *what: told.append(what[:2]))
    assert sorted(s.id for s in failures) == ["a", "b"]
    assert [(video.id, kind) for video, kind in told] == [("bad", "unreadable")]
