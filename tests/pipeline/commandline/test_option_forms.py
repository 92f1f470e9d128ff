"""Every option of every command: both of its forms are one, and each reaches the command."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from cyclopts import CycloptsError

from pipeline.commandline.app import app
from pipeline.commandline.effects import NEVER, RULES
from pipeline.commandline.launch import bound_command
from pipeline.errors import PipelineError
from pipeline.heads.presets import preset
from sola.config import SolaConfig
from sola.errors import SolaError
from tests.pipeline.commandline.option_words import BASES, arguments_of, bound_values, forms, needed, rules_of

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


def test_the_cache_is_set_in_both_forms(monkeypatch):
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
