"""The line after a command that says which command comes next: the last line on standard error."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from pipeline.commandline.app import called_as
from pipeline.commandline.terminal import hint
from pipeline.store.folder import is_packed, json_files

# By command: what comes next. {name} is what the command was given; without it, the line is left out.
NEXT_STEPS = {
    "extract": "sola {out} --out enhanced/",
    "sola": "train {out} --annotations annotations.json --out model/",
    "enhance": "linear-probe {store} --compare {out} --annotations annotations.json",
    "train": "localize videos/ --model {out} --out detections.json",
    "localize": "show {out} --as clips --videos {videos_or_store}",
    "evaluate": "show {detections} --as clips --videos videos/",
    "run": "report {out}",
    "compare": "report {out}",
    "segment": "localize {videos_or_store} --like VIDEO@START-END --out found.json",
    "stitch": "extract {out} --out features/",
    "pretrain": "extract videos/ --out features/ --encoder {encoder} --weights {out}",
    "encoders": "extract videos/ --out features/ --encoder i3d_r50",
    "annotations": "train enhanced/ --annotations {out} --out model/",
    "import": "sola {out} --out enhanced/",
    "store merge": "sola {out} --out enhanced/",
    "store unpack": "sola {out} --out enhanced/",
    "store pack": "store unpack {out} --out features/",
}


def next_step(command: str, arguments: Mapping[str, Any], program: str) -> str:
    """Return the command line that comes next; empty if none does.

    Args:
        command: the command's name.
        arguments: what it was given, by name; settings are looked into.
        program: the path this program was started by.
    """
    given: dict[str, Any] = {}
    for value in arguments.values():
        if is_dataclass(value):
            given |= {option.name: getattr(value, option.name) for option in fields(value)}
    given |= arguments
    template = NEXT_STEPS.get(command, "")
    if given.get("dry_run") or (command == "localize" and not _shows(given)) or _is_empty_store(given.get("out")):
        return ""
    words = []
    for word in shlex.split(template):
        if not word.startswith("{"):
            words.append(word)
        elif (value := given.get(word.strip("{}"))) is None:
            return ""
        else:
            words += [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]
    return shlex.join([*called_as(program).split(), *words]) if words else ""


def _shows(given: Mapping[str, Any]) -> bool:
    """Whether `show` can take what `localize` wrote, and the videos that it was given."""
    inputs: Sequence[Any] = given["videos_or_store"]
    return Path(given["out"]).suffix.lower() == ".json" and not (inputs[0] / "store.json").is_file()


def _is_empty_store(out: Any) -> bool:
    """Whether a command made a store without rows, since all of its videos failed."""
    if not isinstance(out, Path) or not (out / "store.json").is_file() or is_packed(out):
        return False
    return next(json_files(out / "features"), None) is None


def tell_next_step(command: str, arguments: Mapping[str, Any], program: str) -> None:
    """Print the line, unless another process of the same job does, or a script goes on by itself (SOLA_IN_SCRIPT)."""
    if "SOLA_IN_SCRIPT" in os.environ or os.environ.get("RANK", "0") != "0":
        return
    if line := next_step(command, arguments, program):
        hint(f"next: {line}")
