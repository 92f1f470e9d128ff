"""Frames are scaled with the filter that the encoder names."""

from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image

from pipeline.video.errors import VideoError
from pipeline.video.metadata import probe
from pipeline.video.pictures import Geometry, Scaler
from tests.pipeline.stages.test_stages import gray_video
from tests.toys import TOY_SPEC

PILLOW = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@pytest.mark.parametrize("name", PILLOW)
def test_scaling_is_nearest_to_pillows_filter_of_the_same_name(name):
    y, x = np.mgrid[:480, :640]
    waves = (60 * np.sin(x / 7 + y / 11) + 50 * np.sin(x * y / 900), 90 * np.sin(x / 5), 90 * np.cos(y / 6))
    picture = np.clip(128 + np.stack(waves, axis=-1), 0, 255).astype(np.uint8)
    scaler = Scaler(Geometry(112, 149, 0, 0, 149, 0, False, name))
    ours = scaler.picture(av.VideoFrame.from_ndarray(picture, format="rgb24")).astype(int)
    theirs = {other: np.asarray(Image.fromarray(picture).resize((149, 112), how)) for other, how in PILLOW.items()}
    apart = {other: np.abs(ours - scaled).mean() for other, scaled in theirs.items()}
    assert min(apart, key=apart.__getitem__) == name
    assert apart[name] < 0.6  # of 255 levels


def test_decord_is_refused_for_another_filter_than_its_own(tmp_path):
    from pipeline.video import decord_backend
    from pipeline.video.pyav_backend import DecodeCounts

    path = gray_video(tmp_path / "a.mp4", 10)
    info = probe(path)
    geometry = Geometry.of(info, replace(TOY_SPEC, interpolation="bicubic"))
    with pytest.raises(VideoError, match=r"scaled bicubic, decord's bilinear.*use decoder 'auto' or 'pyav'"):
        next(decord_backend.shown_frames(info, geometry, DecodeCounts()))
