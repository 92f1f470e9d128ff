"""The steps from a head's output to detections, as the model has them or as the user wants them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.config import LocalizeConfig
from pipeline.detection.model import LocalizationModel
from pipeline.errors import PipelineError

# Options that one kind of suppression or several have.
_USED_BY = {"sigma": ("soft",), "nms_tiou": ("linear", "hard")}


def with_options(model: LocalizationModel, config: LocalizeConfig) -> LocalizationModel:
    """Return the model with the suppression and limits that `config` names.

    Raises:
        PipelineError: an option has no effect on this model, or the model proposes no score.
    """
    names = ("max_detections", "nms", "sigma", "nms_tiou")
    given: dict[str, Any] = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    nms = given.get("nms", model.post.nms)
    for name, kinds in _USED_BY.items():
        if name in given and nms not in kinds:
            raise PipelineError(f"{name}={given[name]} has no effect with nms={nms}, only with {' or '.join(kinds)}")
    if config.min_score == "auto":
        if model.best_score is None:
            raise PipelineError(
                "min_score=auto needs a model that knows its best score, and this one was trained without validation "
                "videos or by an older version; give a number"
            )
        given["min_score"] = model.best_score.score
    elif config.min_score is not None:
        given["min_score"] = config.min_score
    return replace(model, post=replace(model.post, **given)) if given else model
