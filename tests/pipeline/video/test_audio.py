"""The audio of a video: its samples lie where the pictures' clock says, and are zero elsewhere."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan
from pipeline.video.audio import AudioSettings, AudioTrack
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.events import Finished, Snippets
from pipeline.video.frame_folder import probe_frames
from pipeline.video.metadata import probe
from pipeline.video.pool import DecodePool
from pipeline.video.ranges import CuttableVideo, VideoRange, cut
from pipeline.video.videos import VideoFile
from tests.pipeline.video.test_decode import SPEC
from tests.sounds import beeping, write_with_audio

RATE = 16000
# Windows of 0.4 s, 0.2 s apart.
PLAN = SnippetPlan(fps=Fraction(10), window_frames=Fraction(4), stride_frames=Fraction(2), num_frames=2)


def whole(path, *, seconds: float = 3.0) -> np.ndarray:
    """Return all samples as one window."""
    track = AudioTrack(probe(path), RATE)
    samples = track.window(0, round(seconds * RATE))
    track.close()
    return samples


def loud_span(samples: np.ndarray) -> tuple[float, float]:
    """Return the seconds of the first and the last loud sample."""
    loud = np.flatnonzero(np.abs(samples) > 4000)
    return loud[0] / RATE, loud[-1] / RATE


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "pcm_s16le"), ("mp4", "aac"), ("ts", "mp2"), ("mkv", "libopus")])
def test_a_beep_lies_at_its_second(tmp_path, suffix, codec):
    path = write_with_audio(tmp_path / f"a.{suffix}", 30, beeping(3, [(1.0, 1.25)], rate=48000), codec=codec)
    assert loud_span(whole(path)) == pytest.approx((1.0, 1.25), abs=0.012)


def test_samples_of_the_same_rate_come_as_they_are(tmp_path):
    samples = np.random.default_rng(0).integers(-9000, 9000, 3 * RATE, dtype=np.int16)
    path = write_with_audio(tmp_path / "a.mkv", 30, samples, rate=RATE)
    assert np.array_equal(whole(path), samples)
    track = AudioTrack(probe(path), RATE)
    for first in (0, 100, 100, 20000, 47000):
        expected = np.zeros(3000, np.int16)
        part = samples[first : first + 3000]
        expected[: len(part)] = part
        assert np.array_equal(track.window(first, 3000), expected)
    assert track.notes == ()


@pytest.mark.parametrize(
    ("audio_from", "video_from", "at"),
    [(Fraction(1, 2), 0, 1.5), (Fraction(0), 5, 0.5), (Fraction(3, 10), 5, 0.8)],
    ids=["audio later", "audio earlier", "both later"],
)
@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "pcm_s16le"), ("mp4", "aac")])
def test_audio_that_does_not_begin_with_the_pictures_is_placed_by_its_times(
    tmp_path, suffix, codec, audio_from, video_from, at
):
    samples = beeping(2, [(1.0, 1.2)], rate=48000)
    how = {"codec": codec, "audio_from": audio_from, "video_from": video_from}
    path = write_with_audio(tmp_path / f"a.{suffix}", 30, samples, **how)
    found = whole(path)
    assert loud_span(found) == pytest.approx((at, at + 0.2), abs=0.012)
    assert len(found) == 3 * RATE and not found[round((at + 0.4) * RATE) :].any()


def test_resampling_keeps_the_level_and_channels_are_averaged(tmp_path):
    tone = beeping(2, [(0.0, 2.0)], rate=44100)
    path = write_with_audio(tmp_path / "a.mkv", 20, np.stack([tone, np.zeros_like(tone)]), rate=44100)
    found = whole(path, seconds=2.0)[1000:-1000].astype(float)
    expected = 8000 * np.sin(2 * np.pi * 1000 * (np.arange(1000, 2 * RATE - 1000) / RATE))
    assert np.abs(found - expected).max() < 16000 * 0.01


def test_a_video_without_audio_is_silent_and_says_so(tmp_path):
    path = write_with_audio(tmp_path / "a.mp4", 10, None)
    track = AudioTrack(probe(path), RATE)
    assert not track.window(0, RATE).any()
    assert track.notes == ("no audio: its rows are silence",)


def test_a_folder_of_pictures_is_silent(tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "img_00001.jpg")
    track = AudioTrack(probe_frames(tmp_path, Fraction(10)), RATE)
    assert not track.window(0, 100).any()
    assert "folder of pictures" in track.notes[0]


def test_only_the_snippets_that_cover_a_beep_are_loud(tmp_path):
    """The beep is [1.0, 1.1): windows [0.2 i, 0.2 i + 0.4) meet it for i = 4, 5."""
    beep = beeping(3, [(1.0, 1.1)], rate=RATE)
    path = write_with_audio(tmp_path / "a.mkv", 30, beep, rate=RATE)
    for alone in (False, True):
        rows, report = snippets_of(path, AudioSettings(rate=RATE, alone=alone))
        assert len(rows) == report.num_snippets == 15
        assert [row for row, samples in enumerate(rows) if np.abs(samples).max() > 1000] == [4, 5]
        expected = beep[round(0.8 * RATE) : round(1.2 * RATE)]
        assert np.array_equal(rows[4], expected)


def snippets_of(path, settings):
    rows = []
    with DecodePool(1, DecodeSettings(SPEC, PLAN, audio=settings)) as pool:
        for event in pool.decode([VideoFile("a", path)]):
            if isinstance(event, Snippets):
                assert event.pictures.shape[0] == (0 if settings.alone else len(event.held))
                rows.extend(event.audio)
            else:
                assert isinstance(event, Finished), event
                return rows, event.report
    raise AssertionError("no end")


@pytest.mark.parametrize("alone", [False, True])
def test_ranges_of_a_long_video_have_the_samples_of_the_whole(tmp_path, alone):
    samples = np.random.default_rng(0).integers(-9000, 9000, 6 * RATE, dtype=np.int16)
    video = VideoFile("v", write_with_audio(tmp_path / "v.mkv", 60, samples, rate=RATE))
    with DecodePool(1, DecodeSettings(SPEC, PLAN, audio=AudioSettings(rate=RATE, alone=alone))) as pool:
        whole = np.concatenate([e.audio for e in pool.decode([video]) if isinstance(e, Snippets)])
        (long,) = pool.decode([CuttableVideo(id="v", path=video.path, longest_seconds=2.0)])
        parts = [
            VideoRange(id=f"v{a}", path=video.path, video=video, first_row=a, end_row=b, num_rows=30, info=long.info)
            for a, b in cut(long.info, PLAN, longest_seconds=2.0)
        ]
        events = list(pool.decode(parts))
    assert len(parts) == 3 and len(whole) == 30
    for part in parts:
        rows = np.concatenate([e.audio for e in events if isinstance(e, Snippets) and e.video == part])
        assert np.array_equal(rows, whole[part.first_row : part.end_row + 1])


def test_a_damaged_packet_is_silent_and_the_rest_stays(tmp_path):
    samples = beeping(3, [(0.5, 0.6), (1.3, 1.7), (2.5, 2.6)], rate=48000)
    path = write_with_audio(tmp_path / "a.mkv", 30, samples, codec="flac")
    with av.open(str(path)) as container:
        packet = next(p for p in container.demux(audio=0) if p.pts * p.time_base > 1.49)
    hole, lasts = (float(time * packet.time_base) for time in (packet.pts, packet.duration))
    data = path.read_bytes()
    path.write_bytes(data.replace(bytes(packet), bytes(packet.size)))
    track = AudioTrack(probe(path), RATE)
    found = track.window(0, 3 * RATE)
    assert loud_span(found) == pytest.approx((0.5, 2.6), abs=0.012)
    silent = found[round((hole + 0.004) * RATE) : round((hole + lasts - 0.004) * RATE)]
    before, after = (found[round((hole + shift) * RATE) :][:160] for shift in (-0.03, lasts + 0.02))
    assert np.abs(silent).max() < 300 and min(np.abs(before).max(), np.abs(after).max()) > 10000
    assert track.notes and track.notes[0].startswith("audio: ") and "refused" in track.notes[0]


def test_audio_needs_one_rate_for_all_videos():
    with pytest.raises(PipelineError, match="a rate of its own"):
        DecodePool(1, DecodeSettings(SPEC, replace(PLAN, fps=None), audio=AudioSettings(rate=RATE, alone=False)))
