"""Specs: the format of an encoder's input."""

import json
from dataclasses import replace

import pytest

from encoders.catalog import CATALOG, catalog_entry
from encoders.errors import EncoderError

SPEC = catalog_entry("i3d_r50").spec


@pytest.mark.parametrize(
    ("frame", "scaled"),
    [
        ((240, 320), (256, 341)),  # 341.33 rounds down
        ((320, 240), (341, 256)),
        ((1080, 1920), (256, 455)),  # 455.11
        ((512, 515), (256, 258)),  # 257.5 is half a pixel: up
        ((256, 256), (256, 256)),
        ((2, 3), (256, 384)),  # enlarged
    ],
)
def test_short_side_is_scaled_and_long_side_is_rounded_half_up(frame, scaled):
    assert SPEC.resized(*frame) == scaled


def test_fixed_size_ignores_the_aspect_ratio():
    spec = replace(SPEC, fixed_size=(128, 171), crop_size=112)
    assert spec.resized(1080, 1920) == spec.resized(1920, 1080) == (128, 171)


def test_crop_is_central():
    assert SPEC.crop_box(256, 341) == (16, 58, 224)  # 16 + 224 + 16 = 256; 58 + 224 + 59 = 341
    with pytest.raises(EncoderError, match="at least 224"):
        SPEC.crop_box(200, 300)


@pytest.mark.parametrize("name", CATALOG)
def test_specs_survive_json(name):
    spec = catalog_entry(name).spec
    assert json.loads(json.dumps(spec.as_dict())) == spec.as_dict()
    assert spec.name == name
    top, left, size = spec.crop_box(*spec.resized(spec.short_side, spec.short_side))
    assert top >= 0 and left >= 0 and size == spec.crop_size


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_frames", 0), ("fps", -1.0), ("layout", "video"), ("modality", "sound"), ("crop_size", 300)],
)
def test_impossible_specs_are_refused_by_field_name(field, value):
    with pytest.raises(EncoderError, match=field):
        replace(SPEC, **{field: value})


def test_unknown_encoder_offers_the_nearest_name():
    with pytest.raises(EncoderError, match="did you mean i3d_r50"):
        catalog_entry("i3d_r5O")
