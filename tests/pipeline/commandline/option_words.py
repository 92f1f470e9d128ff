"""Words for every option of every command, and the values that the command gets from them."""

from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin

from pipeline.commandline.app import app
from pipeline.commandline.effects import ABOVE_ZERO, GIVEN, RULES, Rule
from pipeline.commandline.launch import bound_command

# The words without which a command is none.
BASES = {
    "extract": "v --out o",
    "sola": "s --out o",
    "enhance": "s --out o --filter mean3",
    "train": "s --annotations a --out o",
    "localize": "v --out d.json",
    "segment": "v --out o",
    "show": "d --as csv",
    "evaluate": "d --annotations a",
    "run": "--videos v --out o --annotations a",
    "report": "r",
    "plan": "v",
    "status": "s",
    "verify": "s",
    "tsm": "s --video i --out o",
    "linear-probe": "s --annotations a",
    "ablate": "f --out o",
    "compare": "f --out o",
    "pretrain": "c --out o",
    "stitch": "c --out o",
    "encoders": "",
    "annotations": "a",
    "export": "s --annotations a --out o --to opentad",
    "import": "f --out o --fps 3 --stride-frames 4 --window-frames 5",
    "store ls": "s",
    "store stats": "s",
    "store merge": "s --out o",
    "store pack": "s --out o",
    "store unpack": "s --out o",
}


# Values that suit an option where the first that fits its type does not.
VALUES = {
    "shard": "2/3",
    "gap-seconds": "1.5 2.5",
    "kernel-sizes": "3 1 1",
    "dilations": "2 1 1",
    "blend-share": "0.2",
    "batch-size": "17",
    "tsm-size": "7",
    "size": "64",
    "visibility": "0.5",
    "first-position": "3",
    "actionness-thresholds": "0.25",
    "input-weight": "0.5",
    "attention-heads": "8",
    "position-stride": "1",
    "window-snippets": "25",
    "attention-window": "7",
    "kernel": "5",
    "max-bins": "7",
    "width": "128",
    "embed-dim": "128",
    "height": "128",
    "gtad-groups": "8",
    "max-corrupt": "0.5",
    "tious": "0.25",
    "validation-tious": "0.25",
    "ray-gpus-per-worker": "0.5",
    "tower-layers": "3",
    "validation": "0.5",
    "nms-tiou": "0.25",
    "gradient-share": "0.5",
    "min-score": "0.25",
    "decoder": "torchcodec",
    "region-share": "0.25 0.5",
    "paste-share": "0.25 0.5",
    "stream-channels": "9 9",
}


# What else must be said for an option to be accepted at all; what it needs to have an effect stands in RULES.
BESIDE = {
    "ray-address": "executor ray",
    "ray-workers": "executor ray",
    "ray-cpus-per-worker": "executor ray",
    "ray-gpus-per-worker": "executor ray",
    "ray-decoders": "executor ray",
    "ray-range-minutes": "executor ray",
    "weights-flow": "streams flow",
    "audio-encoder": "streams audio",
    "decode-device": "decoder torchcodec",
    "blocked-videos": "protocol opentad",
    "export videos": "to fiftyone",
}


@lru_cache
def arguments_of(command: str) -> Any:
    part = app
    for name in command.split():
        part = part[name]
    return part.assemble_argument_collection()


def choices_of(hint: Any) -> list[str]:
    """The words of the Literals in a type."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [choice for part in get_args(hint) for choice in choices_of(part)]


def value_for(command: str, argument: Any) -> list[str]:
    """Words that give an option another value than its default; none for a flag."""
    name = argument.name.rpartition(".")[2].removeprefix("--")
    default = argument.field_info.default
    if special := VALUES.get(f"{command} {name}", VALUES.get(name)):
        return special.split()
    if argument.hint is bool:
        return []
    if choices := choices_of(argument.hint):
        return [next(choice for choice in choices if choice != default)]
    if "int" in str(argument.hint) or "float" in str(argument.hint):
        return ["0.75"] if isinstance(default, float) and 0 < default < 1 else ["9"]
    return ["x"]


def forms(command: str, argument: Any) -> tuple[list[str], list[str]]:
    """An option as words, with its value apart and joined by "="."""
    if not (values := value_for(command, argument)):
        off = bool(argument.field_info.default)
        return [argument.names[1] if off else argument.name], [f"{argument.name}={str(not off).lower()}"]
    return [argument.name, *values], [f"{argument.name}={values[0]}", *values[1:]]


def needed(command: str, option: str) -> dict[str, list[str]]:
    """What must stand beside an option so that it has an effect, by the rules that the program itself follows."""
    words: dict[str, list[str]] = {}
    for group, rule in rules_of(command, option):
        decider = arguments_of(command)["--" + (group + rule.deciders.split()[0]).replace("_", "-")]
        if rule.values == ABOVE_ZERO:
            words[decider.name] = ["0.5"]
        elif isinstance(rule.values, tuple) and isinstance(rule.values[-1], str):
            accepted = [v for v in words.get(decider.name, rule.values) if v in rule.values]  # by all rules about it
            words[decider.name] = accepted
        elif rule.values == (True,) and not decider.field_info.default:
            words[decider.name] = []
        elif rule.values == GIVEN:
            words[decider.name] = ["9"]
    words = {name: values[:1] for name, values in words.items()}
    prefix, _, name = option.removeprefix("--").rpartition(".")
    found = BESIDE.get(f"{command} {name}", BESIDE.get(name))
    if found and command != "localize":
        beside, value = found.split()
        words[f"--{prefix}.{beside}" if prefix else f"--{beside}"] = [value]
    return words


def rules_of(command: str, option: str) -> list[tuple[str, Rule]]:
    name = option.removeprefix("--").replace("-", "_")
    return [
        (group, rule)
        for group, rules in RULES.get(command, {}).items()
        for rule in rules
        for one in rule.options.split()
        if name == group + one or (one[-1] == "." and name.startswith(group + one))
    ]


def values_in(value: Any, name: str = "") -> dict[str, Any]:
    """The values of a command's arguments, each by its dotted name in the settings."""
    if not is_dataclass(value):
        return {name: value}
    inner = [values_in(getattr(value, f.name), f"{name}.{f.name}" if name else f.name) for f in fields(value)]
    return {key: found for each in inner for key, found in each.items()}


def bound_values(words: list[str]) -> dict[str, Any]:
    _, bound = bound_command(words)
    named = ((name if not is_dataclass(value) else "", value) for name, value in bound.arguments.items())
    return {key: found for name, value in named for key, found in values_in(value, name).items()}
