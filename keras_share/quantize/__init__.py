"""Quantization-aware training of Keras 3 models with TFMOT's quantizers."""

import keras  # noqa: F401 (first, see keras_share.registered)

import keras_share.quantize.attention_rules
import keras_share.quantize.operation_rules
import keras_share.quantize.pooling_rules
import keras_share.quantize.recurrent_rules
import keras_share.quantize.table_rules
import keras_share.quantize.weight_rules
import keras_share.quantize.written_rules  # noqa: F401 (the rules register themselves)
from keras_share.quantize.calibration import calibrate
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.model import quantize_model
from keras_share.quantize.quantization import Quantization
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
    "Quantization",
    "QuantizationReport",
    "QuantizeRule",
    "QuantizeWeights",
    "calibrate",
    "quantization_report",
    "quantize_model",
    "register_rule",
]
