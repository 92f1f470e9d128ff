"""Every option of every command: both of its forms are one, and each reaches the command."""

import itertools
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin

import pytest
from cyclopts import CycloptsError

from pipeline.commandline.app import app
from pipeline.commandline.effects import ABOVE_ZERO, GIVEN, NEVER, RULES, Rule
from pipeline.commandline.launch import bound_command
from pipeline.errors import PipelineError
from pipeline.heads.presets import preset
from sola.config import SolaConfig
from sola.errors import SolaError

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


# Options of the module that the training of the head has itself.
OF_THE_HEAD = ("batch_size", "epochs", "steps", "device", "seed", "checkpoint_every_steps", "log_every_steps")


def check_forms(command: str, options: list[Any]) -> None:
    """Give options together where they go together, else in halves: both forms are the same, and each arrives."""
    given = {argument.name for argument in options}
    beside: dict[str, list[str]] = {}
    for argument in options:
        for name, values in needed(command, argument.name).items():
            if name not in given:
                beside.setdefault(name, values)
    base = pairs_of(BASES[command].split())
    base = {name: values for name, values in base.items() if name not in given and name not in beside}
    others = [word for name, values in {**base, **beside}.items() for word in (*([name] if name else []), *values)]
    apart, joined = zip(*(forms(command, argument) for argument in options), strict=True)
    try:
        one = bound_values([*command.split(), *others, *itertools.chain(*apart)])
        other = bound_values([*command.split(), *others, *itertools.chain(*joined)])
    except (CycloptsError, PipelineError, SolaError):
        if len(options) == 1:
            raise
        middle = len(options) // 2
        check_forms(command, options[:middle])
        check_forms(command, options[middle:])
        return
    assert one == other
    for argument in options:
        name = ".".join(argument.keys) or argument.field_info.name
        assert one[name] != argument.field_info.default, f"{argument.name} did not arrive"


def pairs_of(words: list[str]) -> dict[str, list[str]]:
    """The words by option; those before the first option under an empty name."""
    found: dict[str, list[str]] = {"": []}
    for word in words:
        if word.startswith("--"):
            found[word] = []
        else:
            found[list(found)[-1]].append(word)
    return found


@pytest.mark.parametrize("command", BASES)
def test_both_forms_of_every_option_reach_the_command(command):
    options = [one for one in arguments_of(command) if one.parse and one.name.startswith("--") and not one.children]
    if command == "run":  # its stages have the options of their own commands: some of each will do
        options = [one for place, one in enumerate(options) if "." not in one.name or place % 9 == 0]
        options = [one for one in options if not one.name.startswith(("--train.module", "--train.s", "--localize.ray"))]
    for argument in options:
        if argument.name.startswith("--module.") and argument.name[9:].replace("-", "_") in OF_THE_HEAD:
            with pytest.raises(PipelineError, match=r"must stay|no effect"):
                bound_command([command, *BASES[command].split(), "--sola=auxiliary", *forms(command, argument)[0]])
            options = [one for one in options if one is not argument]
        elif any(rule.values == NEVER for _, rule in rules_of(command, argument.name)):
            with pytest.raises(PipelineError, match="no effect"):
                bound_command([*command.split(), *BASES[command].split(), *forms(command, argument)[0]])
            options = [one for one in options if one is not argument]
    if options:
        check_forms(command, options)


@pytest.mark.parametrize("form", [["--preset", "{}"], ["--preset={}"]])
@pytest.mark.parametrize("place", [1, 99])
def test_a_preset_gives_its_settings_in_both_forms_and_anywhere(form, place):
    def settings(command: str, name: str, option: str = "--preset") -> Any:
        words = [*command.split(), *BASES[command].split()]
        words[place:place] = [word.format(name).replace("--preset", option) for word in form]
        return bound_command(words)[1].arguments["settings"]

    assert settings("train", "thumos14") == preset("thumos14")
    assert settings("run", "thumos14").train == preset("thumos14")
    assert settings("extract", "thumos14-i3d").stride_frames == 4
    assert settings("run", "hacs-i3d", "--extract-preset").extract.stride_frames == 15
    assert settings("sola", "hacs") == SolaConfig(padding="zeros", adapt=False)
    with pytest.raises(CycloptsError, match="Choose from"):
        settings("train", "thumos")


@pytest.mark.parametrize("form", [["--config", "{}"], ["--config={}"]])
@pytest.mark.parametrize("place", [0, 1, 99])
def test_a_file_of_settings_is_taken_in_both_forms_and_anywhere(tmp_path, form, place):
    file = tmp_path / "s.toml"
    file.write_text('[train]\npreset = "thumos14"\nbatch_size = 3\nhead = {kind = "gtad"}\n[sola]\nsteps = 7\n')
    for command, expected in (
        ("train", replace(preset("thumos14", kind="gtad"), batch_size=3)),
        ("sola", SolaConfig(steps=7)),
    ):
        words = [command, *BASES[command].split()]
        words[place:place] = [word.format(file) for word in form]
        assert bound_command(words)[1].arguments["settings"] == expected


@pytest.mark.parametrize("form", ["--head gtad", "--head=gtad", "--head.kind gtad", "--head.kind=gtad"])
def test_the_head_goes_by_its_short_name_beside_its_other_options(form):
    words = ["train", *BASES["train"].split(), *form.split(), "--head.gtad-samples", "7", "--preset=hacs"]
    settings = bound_command(words)[1].arguments["settings"]
    expected = preset("hacs", kind="gtad")
    assert settings == replace(expected, head=replace(expected.head, gtad_samples=7))
    more = [word.replace("--head", "--train.head") for word in words[6:]]
    assert bound_command(["run", *BASES["run"].split(), *more])[1].arguments["settings"].train == settings
    with pytest.raises(PipelineError, match="not both"):
        bound_command(["train", *BASES["train"].split(), "--head", "gtad", "--head.kind", "gtad"])


def test_the_cache_is_set_in_both_forms(tmp_path, monkeypatch):
    from pipeline.storage.local import FOLDER_VARIABLE, GIGABYTES_VARIABLE, cache_bytes

    monkeypatch.setenv(FOLDER_VARIABLE, "")
    monkeypatch.setenv(GIGABYTES_VARIABLE, "1")
    for words in (["--cache-folder", "/c", "--cache-gigabytes", "2"], ["--cache-folder=/c", "--cache-gigabytes=2"]):
        bound_command(["encoders", *words])
        assert cache_bytes() == 2_000_000_000
    with pytest.raises(PipelineError, match="cache"):
        bound_command(["encoders", "--cache-gigabytes=none"])


def test_every_command_is_walked_through():
    commands = {name for name in app if not name.startswith("-")} - {"store"}
    assert {name.split()[0] for name in BASES} - {"store"} == commands
    assert {name.split()[1] for name in BASES if " " in name} == {name for name in app["store"] if name[0] != "-"}


def test_rules_name_options_that_are_there():
    for command, groups in RULES.items():
        known = {name for argument in arguments_of(command) for name in argument.names}
        for group, rules in groups.items():
            for rule in rules:
                for name in (*rule.options.split(), *rule.deciders.split()):
                    option = "--" + (group + name).replace("_", "-")
                    assert option in known or any(one.startswith(option) for one in known if name[-1] == "."), option
