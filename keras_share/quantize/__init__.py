"""Quantization-aware training of Keras 3 models with TFMOT's quantizers."""

# The rules register themselves.
from keras_share.quantize import (
    operation_rules,
    recurrent_rules,
    weight_rules,
    written_rules,
)
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.model import calibrate, quantize_model
from keras_share.quantize.quantize_weights import QuantizeWeights
from keras_share.quantize.report import (
    LayerReport,
    QuantizationReport,
    quantization_report,
)
from keras_share.quantize.rules import QuantizeRule, register_rule

__all__ = [
    "FakeQuantize",
    "LayerReport",
    "QuantizationReport",
    "QuantizeRule",
    "QuantizeWeights",
    "calibrate",
    "operation_rules",
    "quantization_report",
    "quantize_model",
    "recurrent_rules",
    "register_rule",
    "weight_rules",
    "written_rules",
]
