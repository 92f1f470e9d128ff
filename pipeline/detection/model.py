"""The MODEL folder: everything needed to locate actions in a new video.

    MODEL/model.json            labels, settings, the spec of the features (encoder, its weights' identity, snippets)
    MODEL/head.safetensors      the localization head
    MODEL/sola.safetensors      the SoLa module, if the head was trained on enhanced features or together with a module
    MODEL/encoder.safetensors   the encoder's weights, if they were trained together with the head

Other weights of encoders are not copied. The model records their name and SHA-256, and refuses others.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipeline.errors import PipelineError
from pipeline.heads.base import Head, current_weight_name
from pipeline.heads.config import HeadConfig, PostConfig
from pipeline.heads.registry import build_head
from pipeline.metrics.best_score import BestScore
from pipeline.storage.atomic_files import whole_file, write_json
from pipeline.storage.local import cached
from pipeline.storage.read_files import read_json, sha256_of_file
from pipeline.store.feature_store import MODULE_FILE, FeatureStore
from pipeline.store.spec import StoreSpec
from sola.config import SolaConfig, config_to_dict
from sola.files import load_module, save_module
from sola.filters import Filter, filter_of
from sola.module import SolaModule
from sola.old_names import current_names, stored_settings

SCHEMA = 1
HEAD_FILE = "head.safetensors"
ENCODER_FILE = "encoder.safetensors"


@dataclass(frozen=True, kw_only=True)
class LocalizationModel:
    """A trained head, and the processing that its input needs.

    Args:
        labels: the classes, in the order of the head's outputs.
        features: spec of the head's features; `features.sola` is None for plain ones.
        head: in evaluation mode, on the CPU.
        post: settings from the head's output to detections, as used to choose the head.
        sola: the module or the filter that `features.sola` names, or None.
        best_score: the score from which detections should be shown, from the validation videos; None if there were
            none.
        training: how the head was trained; for people.
        identity: SHA-256 of model.json, which names the other files by hash.
        encoder_weights: the encoder's weights in the model's own folder, if they were trained with the head.
    """

    labels: tuple[str, ...]
    features: StoreSpec
    head: Head
    post: PostConfig
    sola: SolaModule | Filter | None
    best_score: BestScore | None
    training: Mapping[str, Any]
    identity: str
    encoder_weights: Path | None = None

    @property
    def plain_features(self) -> StoreSpec:
        """The spec of the features before SoLa."""
        return replace(self.features, sola=None)


@dataclass(frozen=True, kw_only=True)
class TrainedHead:
    """What training makes; `head`, `labels`, `post` and `best_score` as in `LocalizationModel`.

    `module` is a SoLa module that was trained in front of the head, on a plain store, and its settings.
    """

    head: Head
    labels: tuple[str, ...]
    post: PostConfig
    module: tuple[SolaModule, SolaConfig] | None = None
    best_score: BestScore | None = None


def save_model(
    path: Path, trained: TrainedHead, store: FeatureStore | StoreSpec, *, training: Mapping[str, Any]
) -> None:
    """Write the MODEL folder `path`; `model.json` last, so that a folder with it is complete.

    Args:
        store: the features that the head was trained on; if enhanced, its module is copied. For an encoder that was
            trained with the head: the spec of its features, which names `ENCODER_FILE` in the folder.
        training: how, for people.

    Raises:
        PipelineError: the store is enhanced but has lost its module.
    """
    path.mkdir(parents=True, exist_ok=True)
    (path / "model.json").unlink(missing_ok=True)
    head, best_score = trained.head, trained.best_score
    weights = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    with whole_file(path / HEAD_FILE) as partial:
        save_file(weights, partial)
    (path / MODULE_FILE).unlink(missing_ok=True)
    if isinstance(store, StoreSpec):
        features = store
    else:
        (path / ENCODER_FILE).unlink(missing_ok=True)
        features = _with_module(path / MODULE_FILE, store, trained.module)
    write_json(
        path / "model.json",
        {
            "schema": SCHEMA,
            "labels": list(trained.labels),
            "head": stored_settings(head.config),
            "head_sha256": sha256_of_file(path / HEAD_FILE),
            "post": stored_settings(trained.post),
            **({} if best_score is None else {"best_score": asdict(best_score)}),
            "features": features.as_json(),
            "training": dict(training),
        },
    )


def _with_module(target: Path, store: FeatureStore, module: tuple[SolaModule, SolaConfig] | None) -> StoreSpec:
    """Write the module that the head needs, if any; return the spec of the head's features."""
    if module is not None:
        return replace(store.spec, sola=_save_module(target, module, store))
    if store.spec.sola is not None and filter_of(store.spec.sola) is None:
        _copy_module(store, target)
    return store.spec


def _save_module(target: Path, module: tuple[SolaModule, SolaConfig], store: FeatureStore) -> dict[str, Any]:
    """Write the module; return its entry for the spec, as in a store that it has enhanced."""
    network, settings = module
    extra = {"fitted_on": store.fingerprint(), "channels": str(store.spec.channels)}
    save_module(target, network, settings, extra)
    return {"module_sha256": sha256_of_file(target), "settings": config_to_dict(settings)}


def _copy_module(store: FeatureStore, target: Path) -> None:
    source = store.path / MODULE_FILE
    wanted = (store.spec.sola or {}).get("module_sha256")
    if not source.is_file() or sha256_of_file(source) != wanted:
        raise PipelineError(f"{source} must be the module that made the store (SHA-256 {wanted}); run `sola` again")
    with whole_file(target) as partial:
        shutil.copyfile(cached(source), partial)


def load_model(path: Path) -> LocalizationModel:
    """Return the model in folder `path`.

    Raises:
        PipelineError: there is none, it has another version, or its files do not belong together.
    """
    if not (path / "model.json").is_file():
        raise PipelineError(f"{path} is not a trained model: it has no model.json (make one with `train`)")
    value = read_json(path / "model.json", what="model")
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise PipelineError(f"{path / 'model.json'}: schema must be {SCHEMA}; train again with this version")
    try:
        features = StoreSpec.from_json(value["features"], where=path / "model.json")
        labels = _labels(value["labels"])
        head = _filled_head(
            features,
            labels,
            HeadConfig(**current_names(HeadConfig, value["head"])),
            path / HEAD_FILE,
            value["head_sha256"],
        )
        post = PostConfig(**value["post"])
        best_score = _best_score(value.get("best_score"))
    except (KeyError, TypeError, RuntimeError, ValueError, OverflowError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise PipelineError(f"{path} cannot be read as a model: {reason}; train again") from None
    training = value.get("training", {})
    return LocalizationModel(
        labels=labels,
        features=features,
        head=head.eval(),
        post=post,
        sola=_read_module(path / MODULE_FILE, features),
        best_score=best_score,
        training=training if isinstance(training, dict) else {},
        identity=sha256_of_file(path / "model.json"),
        encoder_weights=path / ENCODER_FILE if (path / ENCODER_FILE).is_file() else None,
    )


def _labels(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(label, str) for label in value):
        raise TypeError(f"labels must be one or more names, got {value!r:.60}")
    if len(set(value)) < len(value):
        raise ValueError("labels has a name twice")
    return tuple(value)


def _best_score(value: Any) -> BestScore | None:
    if value is None:
        return None
    best = BestScore(**value)
    for name, number in asdict(best).items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= 1:
            raise ValueError(f"best_score must have {name} from 0 to 1, got {number!r:.60}")
    return best


def _filled_head(features: StoreSpec, labels: tuple[str, ...], config: HeadConfig, file: Path, sha256: str) -> Head:
    weights = {current_weight_name(name): value for name, value in _read_weights(file, sha256).items()}
    # Compare shapes without allocating memory first: settings may claim any width.
    with torch.device("meta"):
        expected = build_head(features.channels, len(labels), config).state_dict()
    shapes = {name: (value.shape, value.dtype) for name, value in expected.items()}
    if {name: (value.shape, value.dtype) for name, value in weights.items()} != shapes:
        raise PipelineError(f"{file} does not hold the weights of the head that model.json describes; train again")
    head = build_head(features.channels, len(labels), config)
    head.load_state_dict(weights)
    return head


def _read_weights(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    if not path.is_file() or sha256_of_file(path) != sha256:
        raise PipelineError(f"{path} is absent or is not the file that model.json describes; train again")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise PipelineError(f"{path} is not a readable safetensors file: {error}") from None


def _read_module(path: Path, features: StoreSpec) -> SolaModule | Filter | None:
    if features.sola is None:
        return None
    if (by := filter_of(features.sola)) is not None:
        return by
    if not path.is_file() or sha256_of_file(path) != features.sola.get("module_sha256"):
        raise PipelineError(f"{path} is absent or is not the SoLa module that model.json names; train again")
    module, _, _ = load_module(path)
    if module.channels != features.channels:
        raise PipelineError(f"{path} is for {module.channels} channels, the head for {features.channels}; train again")
    return module
