"""Real files that break decoders: each ends in time with its known outcome."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import pytest

from encoders.spec import EncoderSpec
from pipeline.snippets import SnippetPlan
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.events import Failed, Finished, Restarted, Snippets
from pipeline.video.pool import DecodePool
from pipeline.video.videos import VideoFile
from tests.pipeline.video.test_decode import needs_decord

SPEC = EncoderSpec(
    name="test", version=1, feature_dim=1, num_frames=8, window_frames=64, fps=30, short_side=256, crop_size=224,
    mean=(0, 0, 0), std=(1, 1, 1), layout="clip", source="test",
)  # fmt: skip
PLAN = SnippetPlan(fps=Fraction(30), window_frames=Fraction(64), stride_frames=Fraction(16), num_frames=8)

# File → kind of failure.
FAILURES = {
    "mp4parse_chunk_out_of_range.mp4": "unreadable",
    "mp4parse_sine-3s-xhe-aac-44khz-mono.mp4": "no_video_stream",
    "mp4parse_test_case_1185230.mp4": "decode_error",
    "tc_animated.gif": "refused_container",
}
# File → frames, seconds, and whether decord may decode it; from the sample tables of the containers.
READABLE = {
    "decord_corrupted.mp4": (50, "5", False),
    "decord_flipping_a_pancake.mkv": (310, "10.333", True),
    "decord_unordered.mov": (4, "0.125", True),
    "decord_video_0.mov": (3, "0.1", True),
    "decord_video_270.mov": (3, "0.1", False),
    "mmaction_part_0.mp4": (32, "1.1", False),
    "moviepy_big_buck_bunny_432_433.webm": (24, "0.999", False),
    "moviepy_smpte-2997.mp4": (251, "10.04", True),
    "moviepy_video_with_failing_audio.mp4": (280, "11.2", True),
    "mp4parse_bbb_sunflower_QCIF_30fps_h263_noaudio_1f.3gp": (1, "1/30", True),
    "mp4parse_h264_white_frame_sar_16_9.mp4": (1, "0.04", True),
    "mp4parse_hevc_white_frame.mp4": (1, "0.04", True),
    "mp4parse_minimal.mp4": (1, "0.04", True),
    "skv_carphone_distorted.mp4": (120, "4.004", True),
    "tc_av1_video.mkv": (125, "5", False),
    "tc_bt601_full_range.mp4": (60, "2", True),
    "tc_h264_10bits.mp4": (30, "1", False),
    "tc_h265_10bits.mp4": (30, "1", False),
    "tc_h265_video.mp4": (10, "1", True),
    "tc_nasa_13013.mp4": (390, "13.013", False),
    "tc_nasa_13013_rotated.mp4": (17, "17017/30000", False),
    "tc_test_non_zero_start.mp4": (12, "0.4", True),
    "tc_testsrc2_12bit_hdr.mp4": (60, "2", False),
    "tc_testsrc2_mpeg4.mp4": (1, "0.04", True),
    "tc_testsrc2_odd_height_and_width_444.mp4": (25, "1", True),
    "tc_testsrc2_odd_height_and_width_mpeg2.mp4": (10, "0.4", True),
    "tc_testsrc2_odd_height_and_width_vp9.mp4": (25, "1", True),
    "tc_testsrc2_vp8.webm": (30, "1", False),
    "tc_testsrc2_vp9.webm": (30, "1", True),
}
pytestmark = pytest.mark.real_data


def decode_one(path: Path, decoder: str) -> tuple[Finished | Failed, int]:
    """Return how a file ends, and the number of its rows."""
    rows = 0
    end = None
    with DecodePool(1, DecodeSettings(SPEC, PLAN, decoder)) as pool:
        for event in pool.decode([VideoFile("v", path)]):
            if isinstance(event, Snippets):
                assert event.frames.shape[1:] == (8, 224, 224, 3)
                rows += len(event.frames)
            elif isinstance(event, Restarted):
                rows = 0
            else:
                end = event
    assert end is not None
    return end, rows


def test_every_file_of_the_folder_has_an_expected_outcome(real_data):
    assert {path.name for path in (real_data / "awkward").iterdir()} == FAILURES.keys() | READABLE.keys()


@pytest.mark.parametrize("name", FAILURES)
def test_a_file_that_cannot_be_used_has_its_kind_of_failure_and_a_reason(real_data, name):
    start = time.monotonic()
    end, _ = decode_one(real_data / "awkward" / name, "auto")
    assert isinstance(end, Failed)
    assert end.kind == FAILURES[name]
    assert end.reason
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("decoder", ["auto", "pyav", pytest.param("decord", marks=needs_decord)])
@pytest.mark.parametrize("name", READABLE)
def test_a_readable_file_has_its_rows_with_every_decoder(real_data, name, decoder):
    frames, seconds, decord = READABLE[name]
    if decoder == "decord" and not decord:
        pytest.skip("decord is not exact there")
    start = time.monotonic()
    end, rows = decode_one(real_data / "awkward" / name, decoder)
    assert isinstance(end, Finished)
    assert end.report.duration == Fraction(seconds)
    assert rows == end.report.num_snippets == -(-Fraction(seconds) // Fraction(16, 30))
    assert end.info.num_frames == frames
    damaged = name == "decord_corrupted.mp4"
    assert (end.report.corrupt_frames > 0) == damaged
    assert end.report.decoded_frames == frames - damaged
    assert end.report.backend == ("pyav" if decoder == "auto" else decoder)
    assert time.monotonic() - start < 20
