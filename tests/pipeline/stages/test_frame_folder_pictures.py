"""Folders of pictures as videos where pictures are shown: segments, clips, montages, reports."""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from PIL import Image

from pipeline.annotations.detections import write_detections
from pipeline.annotations.segments import Detection
from pipeline.config import LocalizeConfig
from pipeline.detection.locator import extract_config
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.report.config import ReportConfig
from pipeline.report.detection_facts import Given, read_given
from pipeline.report.media import make_media
from pipeline.stages.segment_pictures import files_of
from pipeline.store.spec import StoreSpec
from pipeline.video.stills import stills
from pipeline.video.videos import VideoFile
from tests.toys import toy_store_spec
from tests.videos import index_of, picture_of


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A folder `videos/a` of 30 pictures that say their index."""
    folder = tmp_path / "videos" / "a"
    folder.mkdir(parents=True)
    for index in range(30):
        Image.fromarray(picture_of(index, 64, 64)).save(folder / f"img_{index + 1:05d}.png")
    return folder


def test_a_still_is_the_picture_of_its_time_and_no_other_is_read(frames):
    (frames / "img_00003.png").write_bytes(b"no picture")
    pictures = stills(frames, [0.0, 0.55, 2.99, 9.0], height=64, frame_rate=Fraction(10))
    assert [index_of(picture) for picture in pictures] == [0, 5, 29, 29]


def test_segments_find_the_folders_with_their_rate(frames):
    assert files_of([frames.parent], ids="stem", frame_rate=10) == {
        "a": VideoFile("a", frames, frame_rate=Fraction(10))
    }


def test_a_report_has_thumbnails_and_a_copy_that_browsers_play(frames, tmp_path):
    write_detections(tmp_path / "found.json", {"a": [Detection((0.5, 1.5), "jump", 0.9)]})
    facts = read_given(Given([tmp_path / "found.json"], [frames.parent], frame_rate=10))
    assert facts.videos[0].frame_rate == 10
    made = make_media(facts.videos, tmp_path, ReportConfig())["a"]
    assert made.seconds == 3.0 and (tmp_path / made.strip).is_file()
    assert "it is a folder of pictures); --playable-copies makes" in made.note
    copied = make_media(facts.videos, tmp_path, ReportConfig(playable_copies=True))["a"]
    with av.open(str(tmp_path / copied.copy)) as container:
        assert len(list(container.decode(video=0))) == 30


def test_clips_are_cut_out_of_folders(frames, tmp_path, command):
    write_detections(tmp_path / "found.json", {"a": [Detection((0.52, 1.5), "jump", 0.9)]})
    given = ["show", tmp_path / "found.json", "--videos", frames.parent, "--frame-rate", 10, "--as"]
    code, _, err = command(*given, "clips")
    assert code == 1 and "a folder of pictures cannot be copied as a video; cut it with --cut exact" in err
    assert command(*given, "clips", "--cut", "exact")[0] == 0
    with av.open(str(tmp_path / "found-clips" / "jump" / "a_0.520-1.500.mp4")) as container:
        shown = [index_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert shown == list(range(5, 15))
    assert command(*given, "montage")[0] == 0
    assert (tmp_path / "found-montage" / "jump.mp4").is_file()
    assert command(*given, "otio")[0] == 0
    without = [str(part) for part in given if part not in ("--frame-rate", 10)]
    assert command(*without, "clips")[0] == 2


@dataclass(frozen=True)
class _Model:
    features: StoreSpec
    encoder_weights: Path | None = None


def test_localize_decodes_where_it_is_told(monkeypatch):
    monkeypatch.setattr("pipeline.detection.locator.published_weights", lambda _: ("toy",))
    model = _Model(toy_store_spec(ExtractConfig()))
    config = LocalizeConfig(decode_device="cuda")
    with pytest.raises(PipelineError, match="decode_device 'cuda' needs decoder 'torchcodec', got 'auto'"):
        extract_config(model, config)
    by_torchcodec = replace(model, features=replace(model.features, decoder="torchcodec"))
    assert extract_config(by_torchcodec, config).decoding.decoder == "torchcodec:cuda"
    assert extract_config(by_torchcodec, LocalizeConfig()).decoding.decoder == "torchcodec"
