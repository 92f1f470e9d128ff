"""What `--help` shows of a command: options in groups, the common ones first, and an example at its end."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, get_args

from cyclopts import App, ArgumentCollection, Group, Parameter

from pipeline.ablation.config import AblateConfig
from pipeline.annotations.config import ConvertConfig
from pipeline.cluster.config import ExecutionConfig
from pipeline.comparison.config import CompareConfig
from pipeline.config import LocalizeConfig, ProbeConfig, RunConfig, TsmConfig
from pipeline.exports.config import ExportConfig, ImportConfig
from pipeline.extraction.config import ExtractConfig
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.metrics.config import EvaluateConfig
from pipeline.planning.config import PlanConfig
from pipeline.pretraining.config import PretrainConfig, StitchConfig
from pipeline.report.config import ReportConfig
from pipeline.segmentation.config import SegmentConfig
from pipeline.showing.config import ShowConfig
from pipeline.training.end_to_end_config import EndToEndConfig
from sola.config import SolaConfig

COMMON = Group("Common", sort_key=1)
ADVANCED = Group("Advanced", sort_key=2)
END_TO_END = Group("With --end-to-end", sort_key=3)
CLUSTER = Group("Cluster", sort_key=4)

# The common options of each class of settings; the others are advanced.
COMMON_OPTIONS: dict[type, str] = {
    ExtractConfig: "encoder weights streams stride_seconds device workers batch_size retry_failed",
    SolaConfig: "steps epochs normalize input_weight learning_rate device seed",
    TrainConfig: "epochs batch_size learning_rate train_subset validation_subset seed device sola",
    HeadConfig: "kind",
    LocalizeConfig: "min_score max_detections device batch_size weights",
    EvaluateConfig: "subset protocol tious diagnose",
    RunConfig: "videos out annotations use_sola baseline filters published",
    SegmentConfig: "kinds boundary_price max_pictures",
    ShowConfig: "min_score labels max_per_video max_per_label cut",
    ReportConfig: "playable_copies thumbnails tsm_videos max_detections linear_evaluation",
    PlanConfig: "machines hours sample",
    TsmConfig: "max_bins normalize",
    ProbeConfig: "train_subset test_subset normalize weighting seeds filters rotate logistic",
    AblateConfig: "annotations store videos jobs head keep_features",
    CompareConfig: "videos annotations clips rows",
    PretrainConfig: "task encoder weights size epochs batch_size learning_rate train_subset validation_subset device "
    "seed",
    StitchConfig: "actions background_classes background videos seconds seed",
    ExportConfig: "to train val resize_snippets videos",
    ConvertConfig: "to validation seed fps min_score skip_faults",
    ImportConfig: "fps stride_frames window_frames format encoder",
}
# Classes of settings that are a group of their own.
_OWN_GROUPS: dict[type, Group] = {ExecutionConfig: CLUSTER, EndToEndConfig: END_TO_END}
# In these groups of settings, what is common elsewhere is not.
_ADVANCED_GROUPS = {"module", "localize"}
# Commands with so many options that `--help` shows the common ones only.
_LONG = {"run"}

EXAMPLES = {
    "extract": "extract videos/ --out features/",
    "sola": "sola features/ --out enhanced/ --steps 2000",
    "enhance": "enhance features/ --filter bilateral --out bilateral/",
    "train": "train enhanced/ --annotations annotations.json --out model/",
    "localize": "localize videos/ --model model/ --out detections.json",
    "evaluate": "evaluate detections.json --annotations annotations.json",
    "show": "show detections.json --as clips --videos videos/",
    "run": "run --videos videos/ --annotations annotations.json --out results/",
    "report": "report results/",
    "segment": "segment videos/ --out segments/",
    "plan": "plan videos/ --machines 1 8 64",
    "status": "status features/ --watch",
    "verify": "verify features/ --deep",
    "tsm": "tsm features/ enhanced/ --video ID --out tsm.png",
    "linear-probe": "linear-probe features/ --compare enhanced/ --annotations annotations.json",
    "ablate": "ablate ablation.toml --out ablation/",
    "compare": "compare comparison.toml --videos videos/ --annotations annotations.json --out comparison/",
    "pretrain": "pretrain clips/ --out encoder.safetensors",
    "stitch": "stitch clips/ --out videos/",
    "encoders": "encoders",
    "annotations": "annotations labels/ --videos videos/ --validation 0.2 --out annotations.json",
    "export": "export features/ --annotations annotations.json --out opentad/ --to opentad",
    "import": "import published/ --out features/ --fps 30 --stride-frames 4 --window-frames 16",
    "store ls": "store ls features/",
    "store stats": "store stats features/",
    "store merge": "store merge features1/ features2/ --out features/",
    "store pack": "store pack features/ --out packed/",
    "store unpack": "store unpack packed/ --out features/",
}


class GroupedApp(App):
    """An application whose help shows options in groups.

    Attributes:
        shows_all: show all options, also of commands that have many.
        shows_help: the command line asks for help alone, which needs the arguments of a command several times.
    """

    shows_all = False
    shows_help = False
    _for_help: ClassVar[dict[tuple[int, bool], ArgumentCollection]] = {}

    def assemble_argument_collection(self, **options: Any) -> ArgumentCollection:
        """Return the arguments of the command, each option of settings in its group."""
        if not GroupedApp.shows_help:
            return self._grouped(**options)
        known = (id(self), GroupedApp.shows_all)
        if known not in GroupedApp._for_help:
            GroupedApp._for_help[known] = self._grouped(**{**options, "parse_docstring": True})
        return GroupedApp._for_help[known]

    def _grouped(self, **options: Any) -> ArgumentCollection:
        arguments: ArgumentCollection = super().assemble_argument_collection(**options)
        short = not GroupedApp.shows_all and bool(_LONG & set(self.name))
        owners = [(one.keys, one.hint) for one in arguments if one.children]
        for argument in arguments:
            if not argument.keys or argument.children:
                continue
            found = [group_of(hint, argument.keys) for keys, hint in owners if argument.keys[:-1] == keys]
            group = next((one for one in found if one is not None), None)
            if group is None:
                continue
            hidden = Parameter(show=False) if short and group is not COMMON else None
            argument.parameter = Parameter.combine(argument.parameter, Parameter(group=(group,)), hidden)
        return arguments


def group_of(settings: Any, keys: tuple[str, ...]) -> Group | None:
    """Return the group of an option of a class of settings; None if the class does not have it.

    Args:
        settings: the class, or a union with it.
        keys: the option's name, after the names of the groups of settings it is in.
    """
    classes = [one for one in (settings, *get_args(settings)) if is_dataclass(one) and isinstance(one, type)]
    if not classes or keys[-1] not in {option.name for option in fields(classes[0])}:
        return None
    of = next((known for known in (*_OWN_GROUPS, *COMMON_OPTIONS) if issubclass(classes[0], known)), None)
    if of in _OWN_GROUPS:
        return _OWN_GROUPS[of]
    if of is None or _ADVANCED_GROUPS & set(keys[:-1]):
        return ADVANCED
    return COMMON if keys[-1] in COMMON_OPTIONS[of].split() else ADVANCED


def add_examples(app: App, program: str) -> None:
    """Put an example at the end of each command's help."""
    for command, words in EXAMPLES.items():
        part = app
        for name in command.split():
            part = part[name]
        short = command in _LONG and not GroupedApp.shows_all
        more = "These are the common options; `--help-all` shows all.\n\n" if short else ""
        part.help_epilogue = f"{more}Example: `{program} {words}`"
