"""The objects that the main process and its decoder processes exchange, packed as JSON values."""

from __future__ import annotations

from array import array
from dataclasses import asdict, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipeline.snippets import SnippetPlan
from pipeline.video.metadata import VideoInfo
from pipeline.video.report import DecodeReport


def pack_plan(plan: SnippetPlan) -> dict[str, Any]:
    return {f.name: _plain(getattr(plan, f.name)) for f in fields(plan)}


def unpack_plan(packed: dict[str, Any]) -> SnippetPlan:
    names = ("fps", "window_frames", "stride_frames")
    fractions = {name: None if packed[name] is None else Fraction(packed[name]) for name in names}
    return SnippetPlan(**{**packed, **fractions})


def pack_spec(spec: Any) -> dict[str, Any]:
    """Pack a dataclass such as `encoders.spec.EncoderSpec`: its class by name, and its fields."""
    return {"module": type(spec).__module__, "class": type(spec).__qualname__, "fields": asdict(spec)}


def unpack_spec(packed: dict[str, Any]) -> Any:
    import importlib

    kind = getattr(importlib.import_module(packed["module"]), packed["class"])
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in packed["fields"].items()})


def pack_info(info: VideoInfo) -> tuple[dict[str, Any], bytes]:
    """Pack the fields as JSON values, and the timestamps and entries as bytes."""
    values = {f.name: _plain(getattr(info, f.name)) for f in fields(info) if f.name not in ("timestamps", "entries")}
    return {**values, "frames": info.num_frames}, (info.timestamps + info.entries).tobytes()


def unpack_info(values: dict[str, Any], packed_ticks: bytes) -> VideoInfo:
    ticks = array("q")
    ticks.frombytes(packed_ticks)
    frames = values.pop("frames")
    fractions = ("sample_aspect", "time_base", "fps", "claimed_duration", "reached", "container_start")
    exact = {name: None if values[name] is None else Fraction(values[name]) for name in fractions}
    rest = {"path": Path(values["path"]), "notes": tuple(values["notes"])}
    rest |= {"timestamps": ticks[:frames], "entries": ticks[frames:]}
    return VideoInfo(**{**values, **exact, **rest})


def pack_report(report: DecodeReport) -> dict[str, Any]:
    return {f.name: _plain(getattr(report, f.name)) for f in fields(report)}


def unpack_report(values: dict[str, Any]) -> DecodeReport:
    exact = {"duration": Fraction(values["duration"]), "notes": tuple(values["notes"])}
    exact |= {"start_offset": Fraction(values.get("start_offset", 0))}
    return DecodeReport(**{**values, **exact})


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, (Fraction, Path)) else value
