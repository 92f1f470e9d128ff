"""Soft-Landing (SoLa): the module between a frozen snippet encoder and a localization head."""

from sola.config import SolaConfig
from sola.enhance import enhance, enhance_array
from sola.errors import SolaError
from sola.files import load_module, save_module
from sola.fit import FitResult, StepRecord, fit
from sola.module import SimilarityPredictor, SolaModule
from sola.sampling import FeatureSource
from sola.similarity import predicted_tsm, self_similarity, similarity_loss, target_tsm

__all__ = [
    "FeatureSource",
    "FitResult",
    "SimilarityPredictor",
    "SolaConfig",
    "SolaError",
    "SolaModule",
    "StepRecord",
    "enhance",
    "enhance_array",
    "fit",
    "load_module",
    "predicted_tsm",
    "save_module",
    "self_similarity",
    "similarity_loss",
    "target_tsm",
]
