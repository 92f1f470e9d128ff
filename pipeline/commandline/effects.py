"""Refuse options that have no effect beside the others.

In a file of settings they are a note and no error, since one file serves several commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from cyclopts import Argument, ArgumentCollection

from pipeline.commandline.spelling import PRESET
from pipeline.commandline.terminal import note
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.storage.location import location
from pipeline.training.end_to_end_config import EndToEndConfig
from sola.config import SolaConfig

GIVEN, NOT_GIVEN, ABOVE_ZERO, NEVER = "given", "not given", "above zero", "never"


@dataclass(frozen=True)
class Rule:
    """Options that have an effect if one of the deciders has one of the values (or is GIVEN, …).

    Names are separated by spaces. One that ends in a dot stands for all options of that group.
    """

    options: str
    deciders: str
    values: tuple[Any, ...] | str
    reason: str = "here"
    """Why the options have no effect, where the values do not say it."""


_EXTRACT = (
    Rule("flow raft_weights", "streams", ("flow", "rgb,flow", "flow,audio", "rgb,flow,audio")),
    Rule("audio_encoder", "streams", ("audio", "rgb,audio", "flow,audio", "rgb,flow,audio")),
    Rule("raft_weights", "flow", ("raft",)),
    Rule("seed", "weights also_weights weights_flow", ("random",)),
    Rule("max_attempts", "retry_failed", (True,)),
)
_SIMILARITY = (
    Rule("input_contrast", "input_weight", ABOVE_ZERO),
    Rule("predictor_hidden", "predictor", (True,)),
)
_SOLA = (
    Rule("epochs", "steps", NOT_GIVEN),
    *_SIMILARITY,
)
_WITH_LOSS = ("unified_with_loss", "auxiliary")
_WITH_MODULE = ("unified", "unified_with_loss")
_TRAIN = (
    Rule(
        "head.levels head.block head.position head.regression_range head.center_sample_radius head.focal_alpha "
        "head.focal_gamma head.regression_weight head.attention_window head.attention_heads",
        "head.kind",
        ("anchor_free",),
    ),
    Rule("head.attention_window head.attention_heads", "head.block", ("attention",)),
    Rule("head.stem_blocks", "head.kind", ("anchor_free", "gtad")),
    Rule("head.tower_layers", "head.kind", ("anchor_free", "actionness")),
    Rule(
        "head.gtad_neighbors head.gtad_groups head.gtad_samples head.gtad_max_duration_snippets",
        "head.kind",
        ("gtad",),
    ),
    Rule("head.actionness_thresholds", "head.kind", ("actionness",)),
    Rule("post.sigma", "post.nms", ("soft",)),
    Rule("post.nms_tiou", "post.nms", ("linear", "hard")),
    Rule("similarity_weight", "sola", _WITH_LOSS),
    Rule("module.", "sola", (*_WITH_MODULE, "auxiliary")),
    Rule("module.readers module.adapt", "sola", NEVER, "in the training of a head"),
    Rule(
        "module.hidden module.kernel_sizes module.dilations module.gate_learning_rate module.padding",
        "sola",
        _WITH_MODULE,
    ),
    Rule(
        "module.window_snippets module.first_position module.position_stride module.tsm_size module.target_sharpness "
        "module.input_weight module.input_contrast module.normalize module.predictor "
        "module.predictor_hidden module.windows_per_video",
        "sola",
        _WITH_LOSS,
    ),
)
# The options that find, decode and encode videos, beside encoder; a store needs none of them.
_OF_VIDEOS = (
    "weights also_weights weights_flow raft_weights audio_encoder decode_device batch_size timeout_seconds "
    "max_corrupt ids executor"
)
_FINDING = ("ids", "frame_rate", "execution")
_EXTRACTING = " ".join(field.name for field in fields(ExtractConfig) if field.name not in _FINDING)
_ON_FEATURES = "where actions are located in features that are there"
_OF_END_TO_END = " ".join(field.name for field in fields(EndToEndConfig))
_OF_CLIPS = ("classify", "bsp")
_OF_ROWS = ("tac", "tsp")  # tasks that take rows of segments and gaps
# A checkpoint of the authors, which `sola --module` takes, does not state its dilations.
_FITTING = " ".join(field.name for field in fields(SolaConfig) if field.name not in ("device", "dilations"))

# By command and group of options; the names in a rule are relative to the group.
RULES: dict[str, dict[str, tuple[Rule, ...]]] = {
    "extract": {"": _EXTRACT},
    "sola": {"": (Rule(f"preset {_FITTING}", "module", NOT_GIVEN), *_SOLA)},
    "train": {"": (*_TRAIN, Rule(f"frames {_OF_END_TO_END}", "end_to_end", (True,))), "module.": _SIMILARITY},
    "run": {
        "": (
            Rule("preset baseline filters published train. localize. evaluate.", "annotations", GIVEN),
            Rule("sola_preset baseline filters published sola.", "use_sola", (True,)),
            Rule("filters published", "baseline", (True,)),
            Rule(" ".join(f"localize.{name}" for name in f"encoder {_OF_VIDEOS}".split()), "out", NEVER, _ON_FEATURES),
        ),
        "extract.": _EXTRACT,
        "sola.": _SOLA,
        "train.": _TRAIN,
        "train.module.": _SIMILARITY,
    },
    "show": {"": (Rule("cut", "as", ("clips",)), Rule("frame_rate", "videos", GIVEN))},
    "report": {"": (Rule("frame_rate", "videos", GIVEN),)},
    "annotations": {"": (Rule("to skip_faults", "out", GIVEN), Rule("seed", "validation", ABOVE_ZERO))},
    "ablate": {"": (Rule("store", "videos", NOT_GIVEN),)},
    "pretrain": {
        "": (
            Rule("validation_share", "task annotations", (*_OF_ROWS, None), "with --annotations and --task classify"),
            Rule("group_pattern", "annotations", NOT_GIVEN),
            Rule("train_subset validation_subset max_segment_seconds background", "annotations", GIVEN),
            Rule("group_pattern max_segment_seconds background label_smoothing test_windows", "task", _OF_CLIPS),
            Rule("tsp.", "task", _OF_ROWS),
            Rule("tsp.min_gap_clips tsp.global_feature", "task", ("tsp",)),
            Rule("bsp.", "task", ("bsp",)),
            Rule("pal.", "task", ("pal",)),
            Rule("batch_size", "task", ("classify", "tac", "tsp", "bsp")),
        )
    },
    "stitch": {
        "": (
            Rule(
                "actions background_classes background gap_seconds max_action_seconds fade_frames validation_share "
                "group_pattern",
                "synthetic",
                (False,),
            ),
            Rule("visibility", "synthetic", (True,)),
        )
    },
    "export": {"": (Rule("prefix", "to", ("opentad", "actionformer")),)},
    "segment": {"": _EXTRACT},
    "localize": {"": (Rule("model query background video_scores nms sigma nms_tiou", "like", NOT_GIVEN),)},
    "import": {"": (Rule("annotations", "fps", GIVEN), Rule("key", "format", ("auto", "npz", "h5")))},
}


def refuse_without_effect(commands: Sequence[str], arguments: ArgumentCollection) -> None:
    """Refuse options on the command line that have no effect; note those of a file.

    Args:
        commands: the command's names.
        arguments: all of its arguments, with their given values.

    Raises:
        PipelineError: an option on the command line has no effect beside the others.
    """
    known = {name: argument for argument in arguments for name in argument.names}
    rules = dict(RULES.get(" ".join(commands), {}))
    if tuple(commands) == ("localize",) and _is_store(arguments[0]):
        texts = Rule("encoder", "query", GIVEN, _ON_FEATURES)  # the model that reads the queries
        rules = {"": (*rules[""], texts, Rule(_OF_VIDEOS, "out", NEVER, _ON_FEATURES))}
    if tuple(commands) == ("segment",) and _is_store(arguments[0]):
        on_features = Rule(_EXTRACTING, "out", NEVER, "on features that are there")
        rules = {"": (on_features, Rule("frame_rate", "videos", GIVEN))}
    for group, below in rules.items():
        for rule in below:
            deciders = [known[_option(group + name)] for name in rule.deciders.split()]
            if not any(_decides(decider, rule.values) for decider in deciders):
                _refuse(list(_given(rule, group, known)), _reason(deciders[0], rule))


def _refuse(given: list[tuple[str, str]], reason: str) -> None:
    """Refuse the given options (name, source) that come from the command line; note the others."""
    for name, source in given:
        if source == "cli":
            raise PipelineError(f"{name} has no effect {reason}")
    for file in dict.fromkeys(source for _, source in given):
        names = ", ".join(name[2:].replace("-", "_") for name, source in given if source == file)
        note(f"{file}: no effect {reason}: {names}")


def _given(rule: Rule, group: str, known: dict[str, Argument]) -> Iterator[tuple[str, str]]:
    """Yield name and source of the rule's options that a file or the command line gives."""
    for name in rule.options.split():
        option = _option(group + name)
        found = [one for one in known if one.startswith(option)] if name.endswith(".") else [option]
        for one in found:
            tokens = known[one].tokens
            if tokens and one == known[one].name and tokens[-1].source != PRESET:
                yield (
                    tokens[-1].keyword if tokens[-1].source == "cli" and tokens[-1].keyword else one,
                    tokens[-1].source,
                )


def _decides(decider: Argument, values: tuple[Any, ...] | str) -> bool:
    value = value_of(decider)
    if values in (GIVEN, NOT_GIVEN):
        return bool(decider.tokens) is (values == GIVEN)
    if values == ABOVE_ZERO:
        return str(value) not in ("0", "0.0")
    return values != NEVER and value in values


def _reason(decider: Argument, rule: Rule) -> str:
    values = rule.values
    if values == NEVER or rule.reason != Rule.reason:
        return rule.reason
    if values in (GIVEN, (True,)) and not decider.field_info.default:
        return f"without {decider.name}"
    if values in (NOT_GIVEN, (False,)):
        return f"with {decider.name}"
    if values == (True,):
        return f"with {decider.names[-1]}"
    if values == ABOVE_ZERO:
        return f"while {decider.name} is 0"
    return f"with {decider.name} {value_of(decider)}, only with {' or '.join(map(str, values))}"


def value_of(argument: Argument) -> Any:
    """Return the value given for an argument, as text or bool; its default if none was."""
    if not argument.tokens:
        return argument.field_info.default
    token = argument.tokens[-1]
    value = token.implicit_value if isinstance(token.implicit_value, bool) else token.value
    return {"true": True, "false": False}.get(str(value).lower(), value)


def _is_store(videos: Argument) -> bool:
    return bool(videos.tokens) and (location(videos.tokens[0].value) / "store.json").is_file()


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
