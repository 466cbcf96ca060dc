"""Quantization-aware training of Keras 3 models with TFMOT's quantizers."""

from keras_share.quantize.layers import FakeQuantize, QuantizeWeights
from keras_share.quantize.model import calibrate, quantize_model
from keras_share.quantize.report import (
    LayerReport,
    QuantizationReport,
    quantization_report,
)

__all__ = [
    "FakeQuantize",
    "LayerReport",
    "QuantizationReport",
    "QuantizeWeights",
    "calibrate",
    "quantization_report",
    "quantize_model",
]
