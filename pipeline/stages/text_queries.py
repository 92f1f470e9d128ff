"""Stage: videos or a store + texts → a model for `localize`, without any training.

It is a baseline that needs no labels: a picture model (CLIP, SigLIP) compares frames with texts. It knows what a scene
looks like, not how it moves, and its scores are not comparable between sets of queries.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from encoders.huggingface_text import embed_texts
from pipeline.config import LocalizeConfig
from pipeline.detection.model import LocalizationModel, load_model
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.encode import open_encoder
from pipeline.heads.config import PostConfig
from pipeline.heads.text_queries import SMOOTHING, TextQueryHead
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore
from pipeline.store.spec import StoreSpec

BACKGROUND = "a video in which nothing happens"
NOTE = (
    "text queries are a baseline without training: they compare single frames with texts; label a few videos and "
    "`train` a head to do better"
)


def model_for(
    inputs: Sequence[AnyPath],
    model: Path | None,
    queries: Sequence[str],
    config: LocalizeConfig,
    *,
    background: str | None = None,
) -> LocalizationModel:
    """Return the trained model in folder `model`, or one made of queries; arguments as for `query_model`.

    Raises:
        PipelineError: both are given, or neither.
    """
    if (model is None) == (not queries):
        raise PipelineError(
            "give --model FOLDER; or, without training, --like VIDEO@START-END for what resembles an example, or "
            "--query TEXT; one of them"
        )
    if model is None:
        return query_model(inputs, queries, config, background=BACKGROUND if background is None else background)
    if background is not None:
        raise PipelineError(f"background needs --query, got {background!r}")
    return load_model(model)


def query_model(
    inputs: Sequence[AnyPath], queries: Sequence[str], config: LocalizeConfig, *, background: str = BACKGROUND
) -> LocalizationModel:
    """Return a model whose classes are texts; `localize` applies it like any other.

    Args:
        inputs: as for `localize`; a store states its encoder, videos need `config.encoder`.
        queries: what to find, in words; the labels of the detections.
        config: names the encoder, hf:…
        background: what the rest of a video shows, in words.

    Raises:
        PipelineError, EncoderError: no queries or equal ones, no encoder, or one that does not know texts.
    """
    texts = [" ".join(text.split()) for text in (*queries, background)]
    if not all(texts) or len(texts) < 2 or len(set(texts)) < len(texts):
        raise PipelineError(f"query and background must be different texts, at least one query, got {texts}")
    features = _features(inputs, config)
    if features.encoder.get("pool") != "embed" or features.sola is not None:
        raise PipelineError("queries need plain features of hf:… with --pool embed, as of CLIP or SigLIP")
    name = config.encoder or str(features.encoder["name"])
    vectors, scale = embed_texts(name, texts, weights_sha256=features.weights["sha256"])
    about = json.dumps([texts, SMOOTHING, scale, features.as_json()], sort_keys=True)
    return LocalizationModel(
        labels=tuple(texts[:-1]),
        features=features,
        head=TextQueryHead(vectors, scale).eval(),
        post=PostConfig(),
        sola=None,
        training={},
        best_score=None,
        identity=sha256(about.encode()).hexdigest(),
    )


def _features(inputs: Sequence[AnyPath], config: LocalizeConfig) -> StoreSpec:
    """Return the spec of the features: the store's, or of those that the encoder would make."""
    stores = [path for path in inputs if (path / "store.json").is_file()]
    if stores:
        return FeatureStore.open(stores[0]).spec
    if config.encoder is None:
        raise PipelineError("with --query name an encoder of pictures and text, such as --encoder hf:FOLDER_OF_CLIP")
    _, features = open_encoder(
        ExtractConfig(encoder=config.encoder, device=config.device.split(",")[0], batch_size=config.batch_size)
    )
    return features
