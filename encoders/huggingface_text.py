"""The texts' side of models of pictures and text (CLIP, SigLIP): one vector for each text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from encoders.errors import EncoderError
from encoders.hub import CONFIG, INDEX, WEIGHTS, Snapshot, find_snapshot
from encoders.huggingface import PREFIX, quiet, told

if TYPE_CHECKING:
    from torch import Tensor

WITH_TEXT = ("clip", "siglip")


def embed_texts(name: str, texts: Sequence[str], *, weights_sha256: str) -> tuple[Tensor, float]:
    """Return the directions of texts in the space of the pictures, and the scale of the model's similarities.

    Args:
        name: hf:…, a model whose features are pooled as "embed".
        texts: one or more.
        weights_sha256: refuse other weights: those that made the features.

    Returns:
        float32 [N, C] of length 1, and the factor that turns a cosine into a logit.

    Raises:
        EncoderError: the model has no part for text, it or its tokenizer is absent, or a text is too long for it.
    """
    import torch

    from encoders.huggingface_networks import read_model

    if not name.startswith(PREFIX):
        raise EncoderError(
            f"queries need an encoder of pictures and text, hf:… of {' or '.join(WITH_TEXT)}, got {name}"
        )
    snapshot = find_snapshot(name.removeprefix(PREFIX), files=[(CONFIG,), (WEIGHTS, INDEX), ("tokenizer_config.json",)])
    kind = str(snapshot.facts(CONFIG).get("model_type"))
    if kind not in WITH_TEXT:
        raise EncoderError(f"queries need a model of {' or '.join(WITH_TEXT)}, got {kind!r:.40} ({snapshot.name})")
    if snapshot.sha256() != weights_sha256:
        raise EncoderError(f"weights of {snapshot.name} in {snapshot.folder} are not those that made the features")
    with quiet():
        model = read_model(snapshot).eval()
        tokens = _tokens(snapshot, texts, kind=kind, longest=int(model.config.text_config.max_position_embeddings))
        with torch.inference_mode():
            found = model.get_text_features(**tokens)
            vectors = (found if isinstance(found, torch.Tensor) else found.pooler_output).float()
            scale = float(model.logit_scale.exp())
    return torch.nn.functional.normalize(vectors, dim=1).clone(), scale


def _tokens(snapshot: Snapshot, texts: Sequence[str], *, kind: str, longest: int) -> dict[str, Any]:
    """Return the model's input for texts, padded as it was trained: SigLIP to its full length, CLIP to the longest."""
    from transformers import AutoTokenizer

    snapshot.facts("tokenizer_config.json")  # it may ask for code of its own
    with told(snapshot):
        tokenizer = AutoTokenizer.from_pretrained(snapshot.folder, local_files_only=True, trust_remote_code=False)
        counts = [len(tokenizer(text)["input_ids"]) for text in texts]
    for text, count in zip(texts, counts, strict=True):
        if count > longest:
            raise EncoderError(f"a query must have at most {longest} tokens, got {count}: {text!r:.60}")
    padding = {"padding": "max_length", "max_length": longest} if kind == "siglip" else {"padding": True}
    tokens = tokenizer(list(texts), return_tensors="pt", **padding)
    # SigLIP attends to its padding: it has no mask.
    return {key: tokens[key] for key in (("input_ids",) if kind == "siglip" else ("input_ids", "attention_mask"))}
