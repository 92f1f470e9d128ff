"""The two decoders: colors, scaling, when each is used, and damage."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.video import decord_backend
from pipeline.video.errors import VideoError
from pipeline.video.metadata import probe
from tests.pipeline.video.test_decode import BACKENDS, MS, needs_decord, snippets_of
from tests.videos import constant, flip_bits, write_video


def rgb_of(y: int, u: int, v: int, *, matrix: str, full: bool) -> np.ndarray:
    """Return the RGB of a Y'CbCr color by the formulas of ITU-R BT.601 and BT.709."""
    kr, kb = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    luma = y / 255 if full else (y - 16) / 219
    cb, cr = ((c - 128) / (255 if full else 224) for c in (u, v))
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.array([red, green, blue]) * 255, 0, 255)


@pytest.mark.parametrize("decoder", BACKENDS)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("matrix", "colorspace"), [("bt601", 5), ("bt709", 1), ("bt601", 2)])
def test_range_and_matrix_of_the_stream_are_honored_and_bt601_is_the_default(
    tmp_path, decoder, full, matrix, colorspace
):
    y, u, v = 150, 100, 160

    def solid(_: int, height: int, width: int) -> np.ndarray:
        luma = np.full((height, width), y, np.uint8)
        chroma = [np.full((height // 2) * (width // 2), c, np.uint8) for c in (u, v)]
        return np.concatenate([luma.reshape(-1), *chroma]).reshape(height * 3 // 2, width)

    path = constant(
        tmp_path / "v.mp4", 8, 30, draw=solid, source_format="yuv420p", options={"qp": "1"},
        context={"color_range": 2 if full else 1, "colorspace": colorspace},
    )  # fmt: skip
    info = probe(path)
    assert info.color_range in (("full",) if full else ("limited", "unspecified"))
    assert info.color_matrix == ("unspecified" if colorspace == 2 else matrix)
    rows, _ = snippets_of(path, decoder=decoder)
    assert np.abs(rows[0].astype(float) - rgb_of(y, u, v, matrix=matrix, full=full)).max() <= 3


@needs_decord
@pytest.mark.parametrize("size", [(240, 320), (64, 64), (480, 270)])
def test_the_backends_scale_brightness_alike(tmp_path, size):
    def waves(index: int, height: int, width: int) -> np.ndarray:
        y, x = np.mgrid[:height, :width]
        gray = (127 + 100 * np.sin(x / 5 + y / 9 + index / 3)).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)

    path = constant(tmp_path / "v.mp4", 12, 30, size=size, draw=waves)
    pyav, decord = (np.stack(snippets_of(path, decoder=d)[0]).astype(int) for d in ("pyav", "decord"))
    assert np.abs(pyav - decord).max() <= 1


# --- which backend ----------------------------------------------------------------------------------------------


@needs_decord
def test_auto_is_pyav_and_decord_is_used_on_request_where_it_is_exact(tmp_path):
    plain = constant(tmp_path / "plain.mp4", 10, 30)
    assert {d: snippets_of(plain, decoder=d)[1].backend for d in ("auto", "pyav", "decord")} == {
        "auto": "pyav", "pyav": "pyav", "decord": "decord",
    }  # fmt: skip
    assert [snippets_of(plain, decoder=d)[1].backend_reason for d in ("auto", "decord")] == ["", "asked for"]

    variable = write_video(tmp_path / "variable.mkv", [0, 10, 200, 300], MS)
    vp8 = constant(tmp_path / "vp8.webm", 10, 30, codec="libvpx")
    stream = constant(tmp_path / "stream.ts", 10, 30)
    for path, reason in {variable: "variable frame rate", vp8: "codec vp8", stream: "container mpegts"}.items():
        with pytest.raises(VideoError, match=rf"decord is not exact here \({reason}\); use decoder 'auto' or 'pyav'"):
            snippets_of(path, decoder="decord")


@needs_decord
def test_damage_that_decord_reports_is_counted_and_named(tmp_path, monkeypatch):
    path = constant(tmp_path / "v.mp4", 100, 30)
    two = "[h264] error while decoding MB 1 2\n[h264] concealing 3 errors"
    assert snippets_of(path, decoder="decord", stderr=lambda: two)[1].corrupt_frames == 2
    monkeypatch.setattr(decord_backend, "why_wrong", lambda info: "a reason")
    with pytest.raises(VideoError, match=r"decode_error: decord reports damage: \[h264\] error while decoding MB 1 2$"):
        snippets_of(path, decoder="decord", stderr=lambda: two)


# --- damage -----------------------------------------------------------------------------------------------------


def test_damaged_frames_are_counted_and_sound_files_have_none(tmp_path):
    path = constant(tmp_path / "v.mp4", 60, 30, size=(128, 128))
    assert snippets_of(path, decoder="pyav")[1].corrupt_frames == 0
    size = path.stat().st_size
    flip_bits(path, range(size // 3, size // 2, 97))
    report = snippets_of(path, decoder="pyav")[1]
    assert 0 < report.corrupt_frames <= 60
    assert report.num_snippets == 15
