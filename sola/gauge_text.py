"""What a gauge says, in words: `Gauge.as_json` read back."""

from collections.abc import Mapping
from typing import Any

# A part of the target from which on it is worth a word.
NOTABLE = 0.1
# Less than this is nothing: the same windows measured twice differ by a hundredth.
LEAST_GAIN = 0.02


def before_line(gain: float | None, constant: float, least: float, loss: float) -> str:
    """Return one line on the plain features, before a fit."""
    if gain is None:
        return "no two positions are compared, so the target asks nothing of the features"
    return (
        f"before the fit, the features themselves meet {_share(gain)} of the target (loss {loss:.4f}; {constant:.4f} "
        f"for the same similarity at every interval, {least:.4f} for the target itself)"
    )


def gauge_lines(gauge: Mapping[str, Any]) -> list[str]:
    """Return the measures of a gauge, one or two lines."""
    if gauge["gain_before"] is None:
        return []
    parts = [f"{_share(gauge['gain_before'])} by the features before", f"{_share(gauge['gain_features'])} after"]
    if gauge["gain_predictor"] != gauge["gain_features"]:
        parts.append(f"{_share(gauge['gain_predictor'])} through the predictor, which is dropped now")
    lines = [f"target met: {', '.join(parts)}"]
    if gauge["correction_ratio"] is not None:
        ratio, constant, linear = gauge["correction_ratio"], gauge["constant_share"], gauge["linear_r2"]
        lines.append(
            f"correction: {ratio:.2f} of the input's length; {_share(constant)} of its energy is one constant vector"
        )
        if linear is not None:
            lines[-1] += f"; a linear filter explains {_share(max(0.0, linear))} of its variance on other videos"
        lines[-1] += f"; effective rank {gauge['rank_before']:.1f} -> {gauge['rank_after']:.1f}"
    return lines


def verdict(gauge: Mapping[str, Any]) -> str:
    """Return one sentence on what the fit won, and where it stays."""
    before, after, fit = (gauge[f"gain_{name}"] for name in ("before", "features", "predictor"))
    if before is None:
        return "No two positions are compared, so the fit had nothing to learn."
    won = after - before
    if after <= 0:
        parts = ["The features met none of the target before the fit, and meet none after it"]
        if fit > NOTABLE:
            parts.append("all that the fit gained is in the predictor, which is dropped")
    else:
        already = "already " if before >= NOTABLE and won <= NOTABLE else ""
        met = f"{already}met {_share(before)}"
        change = f"added {_share(after - max(before, 0))}" if won >= 0 else f"took {_share(-won)} away"
        parts = [f"The features {met} of the target before the fit, and the fit {change}"]
        if fit - after > NOTABLE:
            parts.append(f"the predictor, which is dropped, holds another {_share(fit - after)}")
    if won < LEAST_GAIN or after <= 0:
        parts.append("the features won nothing that a head could use: skip SoLa here")
    return "; ".join([*parts, *_character(gauge)]) + "."


def _character(gauge: Mapping[str, Any]) -> list[str]:
    """Return what the correction is, where that is remarkable."""
    if gauge["correction_ratio"] is None:
        return []
    if gauge["correction_ratio"] < 0.01:
        return ["the module changes the features by less than 1 %"]
    parts = []
    if gauge["rank_after"] < gauge["rank_before"] / 2:
        parts.append(
            f"the features collapsed, from {gauge['rank_before']:.0f} effective directions to {gauge['rank_after']:.0f}"
        )
    constant, linear = gauge["constant_share"] >= 0.5, (gauge["linear_r2"] or 0.0) >= 0.8
    if constant and linear:
        parts.append("what the module adds is little more than a constant and a linear filter")
    elif constant or linear:
        parts.append(f"what the module adds is little more than a {'constant' if constant else 'linear filter'}")
    return parts


def _share(value: float) -> str:
    """Return a share in percent; below 0 is farther from the target than a constant, and meets none of it."""
    return f"{100 * value:.0f} %" if value > 0 else "none"
