"""Frozen snippet encoders: networks, weight files, and the preprocessing that travels with them."""

from encoders.catalog import encoder_names, encoder_spec
from encoders.encoder import Encoder, load_encoder
from encoders.errors import EncoderError
from encoders.spec import EncoderSpec
from encoders.weights import WeightsInfo

__all__ = [
    "Encoder",
    "EncoderError",
    "EncoderSpec",
    "WeightsInfo",
    "encoder_names",
    "encoder_spec",
    "load_encoder",
]
