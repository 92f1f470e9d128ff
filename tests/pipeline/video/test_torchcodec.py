"""torchcodec gives PyAV's frames, to a tolerance in pixels; what it needs and refuses."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.snippets import SnippetPlan
from pipeline.video import torchcodec_backend
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.errors import VideoError
from pipeline.video.events import Finished, Snippets
from pipeline.video.find import find_videos
from pipeline.video.pool import DecodePool
from tests.pipeline.video.test_decode import MS, PLAN, SPEC, indexes_of, snippets_of
from tests.videos import constant, flip_bits, rotate_track, write_video


def why_it_does_not_run() -> str:
    try:
        torchcodec_backend.require("cpu")
    except PipelineError as error:
        return str(error)
    return ""


WHY_NOT = why_it_does_not_run()
needs_torchcodec = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
# Measured on smooth pictures: swscale scales brightness and color before it makes RGB, here RGB is scaled.
MOST_IN_GRAY, MOST_IN_COLOR, MEAN_IN_COLOR = 3, 18, 5


def waves(index: int, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    phases = (x / 15 + index / 3, y / 19 + index / 5, (x + y) / 23)
    return np.stack([127 + 100 * np.sin(phase) for phase in phases], axis=2).astype(np.uint8)


@needs_torchcodec
@pytest.mark.parametrize("size", [(240, 320), (64, 64), (480, 270)])
def test_rows_are_pyavs_to_a_tolerance(tmp_path, size):
    def gray(index: int, height: int, width: int) -> np.ndarray:
        return np.repeat(waves(index, height, width)[:, :, :1], 3, axis=2)

    def errors(draw: Callable[[int, int, int], np.ndarray]) -> np.ndarray:
        path = constant(tmp_path / "v.mp4", 12, 30, size=size, draw=draw)
        pyav, other = (np.stack(snippets_of(path, decoder=d)[0]).astype(int) for d in ("pyav", "torchcodec"))
        return np.abs(pyav - other)

    assert errors(gray).max() <= MOST_IN_GRAY
    in_color = errors(waves)
    assert in_color.max() <= MOST_IN_COLOR
    assert in_color.mean() <= MEAN_IN_COLOR


@needs_torchcodec
def test_frames_are_chosen_by_time_as_with_pyav(tmp_path):
    variable = write_video(tmp_path / "variable.mkv", [0, 10, 200, 300, 310, 600], MS)
    slow = constant(tmp_path / "slow.mp4", 40, 12)
    for path in (variable, slow):
        for plan in (PLAN, SnippetPlan(fps=Fraction(7), window_frames=4, stride_frames=3, num_frames=4)):
            assert indexes_of(path, plan, decoder="torchcodec") == indexes_of(path, plan, decoder="pyav")


@needs_torchcodec
def test_it_runs_in_the_isolated_process_and_the_report_names_it(tmp_path):
    constant(tmp_path / "v.mp4", 20, 30)
    with DecodePool(1, DecodeSettings(SPEC, PLAN, "torchcodec")) as pool:
        *rows, end = pool.decode(find_videos([tmp_path]))
    assert all(isinstance(event, Snippets) for event in rows)
    assert isinstance(end, Finished), end
    assert end.report.backend == "torchcodec"
    assert "libavcodec" in end.report.backend_version


@needs_torchcodec
def test_what_it_may_show_otherwise_is_refused_and_damage_is_seen(tmp_path):
    turned = constant(tmp_path / "turned.mp4", 10, 30)
    rotate_track(turned, 90)
    with pytest.raises(VideoError, match=r"torchcodec is not exact here \(rotated.*use decoder 'auto' or 'pyav'"):
        snippets_of(turned, decoder="torchcodec")
    damaged = constant(tmp_path / "damaged.mp4", 60, 30)
    size = damaged.stat().st_size
    flip_bits(damaged, range(size // 3, size // 2, 97))
    with DecodePool(1, DecodeSettings(SPEC, PLAN, "torchcodec")) as pool:
        *_, end = pool.decode(find_videos([damaged]))
    assert not isinstance(end, Finished) or end.report.corrupt_frames > 0


@needs_torchcodec
def test_cuda_without_a_card_is_one_clear_line():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a card")
    with pytest.raises(PipelineError, match="decode_device is 'cuda', and torch finds no CUDA device"):
        DecodePool(1, DecodeSettings(SPEC, PLAN, "torchcodec:cuda"))


def test_without_the_package_or_ffmpeg_the_error_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PipelineError, match=r"pip install 'sola-pipeline\[torchcodec\]', or use decoder 'auto'"):
        torchcodec_backend.require("cpu")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    for name in [name for name in sys.modules if name.split(".")[0] == "torchcodec"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "torchcodec").mkdir()
    (tmp_path / "torchcodec" / "__init__.py").write_text("raise RuntimeError('Could not load libtorchcodec.\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PipelineError, match=r"cannot be loaded \(Could not load libtorchcodec\).*apt install ffmpeg"):
        torchcodec_backend.require("cpu")


def test_the_device_needs_the_decoder_and_reaches_the_decoding():
    with pytest.raises(PipelineError, match="decode_device 'cuda' needs decoder 'torchcodec', got 'auto'"):
        ExtractConfig(decode_device="cuda")
    assert ExtractConfig(decoder="torchcodec", decode_device="cuda").decoding.decoder == "torchcodec:cuda"
    assert ExtractConfig(decoder="torchcodec").decoding.decoder == "torchcodec"
