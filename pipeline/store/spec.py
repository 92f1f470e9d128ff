"""The spec of a feature store: what all its rows share, and what a row means in seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan, exact
from pipeline.storage.location import AnyPath
from pipeline.store.records import RowsRecord, SpecRecord

SCHEMA = 1  # of store.json and the sidecars
# As version 0.1 wrote it, spelling included: stores of equal features have equal bytes.
ROW_MEANING = (
    "row i covers [i * stride_seconds, i * stride_seconds + window_seconds) of the video, counted from its first "
    "frame; its centre is i * stride_seconds + first_center_seconds"
)
OWN_RATE = "video"  # stands for each video's own rate
_MOST_CHANNELS = 10**7
_MOST_FRAMES = 10**5  # in a snippet
_LONGEST_SECONDS = 1e9  # thirty years


@dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """What all rows of a store share; two sequences may stand in one store only if their specs are equal.

    Args:
        channels: C, width of a row.
        dtype: of the arrays.
        plan: how videos were cut into snippets.
        encoder: name, version and preprocessing of the snippet encoder.
        weights: name and SHA-256 of its weights; whether they are random, and the seed.
        precision: of the encoder's arithmetic.
        decoder: the decoder asked for; each sidecar names the one that ran.
        sola: None for plain features; else the SHA-256 and the settings of the SoLa module that enhanced them, or the
            filter in its place (`sola.filters.Filter.as_json`, under "filter").
    """

    channels: int
    dtype: Literal["float32", "float16"]
    plan: SnippetPlan
    encoder: dict[str, Any]
    weights: dict[str, Any]
    precision: str
    decoder: str
    sola: dict[str, Any] | None = None

    @property
    def stream_channels(self) -> tuple[int, ...]:
        """The number of channels of each stream, in the order of the columns; empty if there is one stream."""
        streams = [stream["channels"] for stream in self.encoder.get("streams", ())]
        return tuple(end - begin for begin, end in streams) if len(streams) > 1 else ()

    def as_json(self) -> SpecRecord:
        """Return the spec as plain JSON values; fractions are text such as "30000/1001", and seconds are added."""
        return {
            "channels": self.channels,
            "dtype": self.dtype,
            "rows": rows_as_json(self.plan),
            "encoder": self.encoder,
            "weights": self.weights,
            "precision": self.precision,
            "decoder_asked": self.decoder,
            "sola": self.sola,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, where: AnyPath) -> StoreSpec:
        """Read the spec in `value`.

        Args:
            where: the file that it comes from, for the error.

        Raises:
            PipelineError: it is no spec.
        """
        try:
            _check_types(value)
            plan = plan_from_json(value["rows"])
            names = ("channels", "dtype", "encoder", "weights", "precision", "sola")
            return cls(plan=plan, decoder=value["decoder_asked"], **{name: value[name] for name in names})
        except (KeyError, TypeError, ValueError, PipelineError) as error:
            raise PipelineError(f"{where} is not the spec of a feature store: {_words(error)}") from None

    def differences(self, other: StoreSpec) -> list[str]:
        """Return one line for each field that differs: `encoder.name: 'a' here, 'b' there`."""
        here, there = (_flat(json.loads(json.dumps(spec.as_json()))) for spec in (self, other))  # tuples are lists
        keys = sorted(here.keys() | there.keys())
        return [
            f"{key}: {here.get(key)!r} here, {there.get(key)!r} there"
            for key in keys
            if here.get(key) != there.get(key)
        ]

    def foreign_fields(self, sidecar: Mapping[str, Any], *, where: AnyPath) -> list[str]:
        """Return the differences of a sidecar from this spec; none if its sequence belongs in a store of this spec.

        Raises:
            PipelineError: the sidecar, in file `where`, states no spec.
        """
        if all(sidecar.get(name) == value for name, value in self._as_stored.items()):
            return []
        theirs = StoreSpec.from_json(sidecar, where=where)
        # Where rows follow each video's own rate, the sidecar states this rate.
        plan = self.plan if theirs.plan.fps is None else self.plan.at(theirs.plan.fps)
        return replace(self, plan=plan).differences(theirs)

    @cached_property
    def _as_stored(self) -> SpecRecord:
        return self.as_json()


def plan_from_json(rows: Mapping[str, Any]) -> SnippetPlan:
    """Read a plan that `rows_as_json` wrote.

    Raises:
        KeyError, TypeError, ValueError, PipelineError: `rows` is no plan.
    """
    num_frames, stack, flow = rows["num_frames"], rows.get("stack", 1), rows.get("flow", False)
    if not whole(num_frames, most=_MOST_FRAMES) or not whole(stack, most=_MOST_FRAMES) or not isinstance(flow, bool):
        raise TypeError(f"num_frames, stack and flow cannot be {num_frames!r:.40}, {stack!r:.40} and {flow!r:.40}")
    return SnippetPlan(
        fps=None if rows["fps"] == OWN_RATE else exact(rows["fps"]),
        window_frames=exact(rows["window_frames"]),
        stride_frames=exact(rows["stride_frames"]),
        num_frames=num_frames,
        tail=rows["tail"],
        stack=stack,
        flow=flow,
    )


def check_sidecar(value: Mapping[str, Any], spec: StoreSpec) -> None:
    """Refuse a sidecar that readers cannot use, such as one without rows or with an impossible duration.

    Raises:
        KeyError, TypeError, ValueError, PipelineError: the sidecar is wrong; the error says where.
    """
    rows, channels = value["shape"]
    if not whole(rows, least=0) or not whole(channels):
        raise ValueError(f"shape cannot be {value['shape']!r:.60}")
    duration = value["duration_seconds"]
    if isinstance(duration, bool) or not isinstance(duration, (int, float)) or not 0 <= duration <= _LONGEST_SECONDS:
        raise ValueError(f"duration_seconds cannot be {duration!r:.40}")
    if "duration_exact" in value and not 0 <= exact(value["duration_exact"]) <= _LONGEST_SECONDS:
        raise ValueError(f"duration_exact cannot be {value['duration_exact']!r:.40}")
    if not isinstance(value["sha256"], str):
        raise TypeError("sha256 must be text")
    if not isinstance(value.get("id", ""), str):
        raise TypeError("id must be a name")
    if spec.plan.fps is None or value["rows"] != rows_as_json(spec.plan):
        plan_from_json(value["rows"])


def whole(value: Any, *, least: int = 1, most: int = 10**12) -> bool:
    """Whether a value from a file is an integer from `least` to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _check_types(value: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError for fields of a spec that have the wrong type."""
    if not whole(value["channels"], most=_MOST_CHANNELS):
        raise ValueError(f"channels must be an integer > 0, got {value['channels']!r:.40}")
    if value["dtype"] not in ("float32", "float16"):
        raise ValueError(f"dtype must be float32 or float16, got {value['dtype']!r:.40}")
    for name in ("encoder", "weights"):
        if not isinstance(value[name], dict):
            raise TypeError(f"{name} must be an object, got {value[name]!r:.40}")
    for name in ("precision", "decoder_asked"):
        if not isinstance(value[name], str):
            raise TypeError(f"{name} must be text, got {value[name]!r:.40}")
    if value["sola"] is not None and not isinstance(value["sola"], dict):
        raise TypeError(f"sola must be an object or null, got {value['sola']!r:.40}")
    streams = value["encoder"].get("streams", [])
    pairs = [stream["channels"] for stream in streams]
    if not all(isinstance(pair, list) and len(pair) == 2 and all(whole(n, least=0) for n in pair) for pair in pairs):
        raise ValueError(f"encoder.streams must be columns [begin, end], got {pairs!r:.60}")


def _words(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


def rows_as_json(plan: SnippetPlan) -> RowsRecord:
    """Return what a row means, for spec and sidecar; the seconds are None where they differ from video to video."""
    fixed = plan.fps is not None
    rows: RowsRecord = {
        "meaning": ROW_MEANING,
        "stride_seconds": float(plan.stride_seconds) if fixed else None,
        "window_seconds": float(plan.window_seconds) if fixed else None,
        "first_center_seconds": float(plan.window_seconds / 2) if fixed else None,
        "fps": str(plan.fps) if fixed else OWN_RATE,
        "stride_frames": str(plan.stride_frames),
        "window_frames": str(plan.window_frames),
        "num_frames": plan.num_frames,
        "tail": plan.tail,
    }
    # Only if they say something, so that stores without flow stay the same.
    if plan.stack != 1:
        rows["stack"] = plan.stack
    if plan.flow:
        rows["flow"] = True
    return rows


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}.{key}" if prefix else key)
    return flat
