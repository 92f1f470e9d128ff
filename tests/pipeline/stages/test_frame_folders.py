"""Frame folders through the stages: rows of the video, sidecars, resuming, detections."""

import json
from fractions import Fraction

import numpy as np

from pipeline.config import LocalizeConfig
from pipeline.detection.model import load_model
from pipeline.extraction.config import ExtractConfig
from pipeline.stages.extract import extract
from pipeline.stages.localize import localize
from tests.pipeline.stages.test_localize import data, trained  # noqa: F401  (a fixture)
from tests.pipeline.video.test_frame_folder import noisy, write_frames
from tests.toys import use_toy_encoder
from tests.videos import write_video


def test_rows_and_detections_are_those_of_the_lossless_video(data):  # noqa: F811
    write_frames(data / "frames" / "jump" / "v1", 75, size=(32, 32))
    (data / "movies").mkdir()
    write_video(
        data / "movies" / "v1.mov", range(75), Fraction(1, 25), size=(32, 32), codec="png", pixel_format="rgb24",
        draw=noisy,
    )  # fmt: skip
    settings = {"workers": 1, "stride_frames": 2.5}
    frames, done = extract([data / "frames"], data / "from_frames", ExtractConfig(**settings, frame_rate=25))
    movies, _ = extract([data / "movies"], data / "from_movies", ExtractConfig(**settings))
    assert (done.done, done.failed) == (1, {})
    rows = [store.read("v1").features for store in (frames, movies)]
    assert rows[0].shape[0] > 10
    assert np.array_equal(*rows)

    model = load_model(trained(data, "store"))
    found = [
        localize([data / "frames"], model, LocalizeConfig(device="cpu", frame_rate=25)),
        localize([data / "movies"], model, LocalizeConfig(device="cpu")),
    ]
    assert found[0].detections["v1"]
    assert found[0].detections == found[1].detections


def test_the_sidecar_records_kind_and_rate_and_a_change_of_either_redoes_the_video(tmp_path, monkeypatch):
    use_toy_encoder(monkeypatch)
    folder = write_frames(tmp_path / "frames" / "v", 20, size=(32, 32))

    def run(rate: float) -> tuple[int, int, int]:
        _, done = extract([tmp_path / "frames"], tmp_path / "store", ExtractConfig(workers=1, frame_rate=rate))
        return done.done, done.skipped, done.changed

    assert run(25) == (1, 0, 0)
    sidecar = json.loads(next((tmp_path / "store").rglob("*v.json")).read_text())
    source = sidecar["source"]
    assert (source["kind"], source["frame_rate"], sidecar["video_fps"]) == ("frames", "25", 25.0)
    assert source["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert len(source["sha256"]) == 64
    assert sidecar["duration_seconds"] == 20 / 25
    assert run(25) == (0, 1, 0)
    assert run(10) == (1, 0, 1)
    write_frames(folder, 1, first=5, size=(32, 32))
    assert run(10) == (1, 0, 1)


def test_a_bad_picture_is_a_failure_of_its_video(tmp_path, monkeypatch):
    use_toy_encoder(monkeypatch)
    (write_frames(tmp_path / "frames" / "bad", 20) / "img_00004.png").write_bytes(b"no picture")
    write_frames(tmp_path / "frames" / "good", 20)
    config = ExtractConfig(workers=1, frame_rate=25)
    _, done = extract([tmp_path / "frames"], tmp_path / "store", config)
    assert (done.done, list(done.failed)) == (1, ["bad"])
    assert done.failed["bad"].startswith("decode_error: img_00004.png cannot be decoded")
    _, again = extract([tmp_path / "frames"], tmp_path / "store", config)
    assert (again.skipped, list(again.failed)) == (1, ["bad"])
