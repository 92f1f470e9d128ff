"""Read from a Hugging Face processor how frames are scaled, cropped and normalized."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from encoders.errors import EncoderError

_RESAMPLING = {1: "lanczos", 2: "bilinear", 3: "bicubic"}  # the numbers of Pillow's filters


def frame_settings(processor: Any, *, name: str, offset: bool) -> dict[str, Any]:
    """Return the fields of an `EncoderSpec` that a processor states: sizes, interpolation, mean and std.

    Args:
        processor: an image or video processor of transformers.
        name: the model's, for messages.
        offset: whether 1 is subtracted after rescaling, where the processor does not say.

    Raises:
        EncoderError: it prepares frames in a way that has no equal here; the message says which setting.
    """

    def refuse(setting: str, accepted: str) -> EncoderError:
        value = getattr(processor, setting, None)
        return EncoderError(f"{setting} of {name}'s processor must be {accepted}, got {value!r:.80}")

    if not _setting(processor, "do_resize"):
        raise refuse("do_resize", "true")
    if _setting(processor, "do_pad"):
        raise refuse("do_pad", "false")
    resampling = _RESAMPLING.get(int(_setting(processor, "resample") or 0))
    if resampling is None:
        raise refuse("resample", "2 (bilinear), 3 (bicubic) or 1 (lanczos)")
    sizes = _sizes(processor, refuse)
    return {**sizes, "interpolation": resampling, **_normalization(processor, offset=offset)}


def _setting(processor: Any, name: str) -> Any:
    return getattr(processor, name, None)


def _lengths(value: Any) -> dict[str, int]:
    """Return the lengths that a size states, by name; one number stands for height and width."""
    if isinstance(value, int):
        return {"height": value, "width": value}
    items = value.items() if isinstance(value, Mapping) else vars(value).items() if value is not None else ()
    return {key: int(length) for key, length in items if length is not None}


def _sizes(processor: Any, refuse: Any) -> dict[str, Any]:
    """Return short_side, crop_size and fixed_size, in pixels."""
    size = _lengths(_setting(processor, "size"))
    if set(size) == {"shortest_edge"}:
        short, fixed = size["shortest_edge"], None
    elif set(size) == {"height", "width"}:
        short, fixed = min(size.values()), (size["height"], size["width"])
    else:
        raise refuse("size", "a shortest_edge, or height and width")
    if not _setting(processor, "do_center_crop"):
        if fixed is None or fixed[0] != fixed[1]:
            raise refuse("size", "a square, where there is no center crop")
        return {"short_side": short, "crop_size": short, "fixed_size": fixed}
    crop = _lengths(_setting(processor, "crop_size"))
    if set(crop) != {"height", "width"} or crop["height"] != crop["width"]:
        raise refuse("crop_size", "a square")
    return {"short_side": short, "crop_size": crop["height"], "fixed_size": fixed}


def _normalization(processor: Any, *, offset: bool) -> dict[str, Any]:
    """Return mean and std of bytes / 255, where the processor computes (bytes * factor - shift - mean) / std."""
    rescales, normalizes = bool(_setting(processor, "do_rescale")), bool(_setting(processor, "do_normalize"))
    factor = float(_setting(processor, "rescale_factor")) if rescales else 1.0
    says = _setting(processor, "offset")
    shift = 1.0 if rescales and (offset if says is None else says) else 0.0
    means = list(_setting(processor, "image_mean")) if normalizes else [0.0] * 3
    deviations = list(_setting(processor, "image_std")) if normalizes else [1.0] * 3
    whole = 255 * factor  # of the brightest pixel
    if math.isclose(whole, 1, rel_tol=1e-9):
        whole = 1.0
    return {
        "mean": tuple((mean + shift) / whole for mean in means),
        "std": tuple(deviation / whole for deviation in deviations),
    }
