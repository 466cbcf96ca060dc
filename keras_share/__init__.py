"""Cross-layer parameter sharing for Keras.

Layers that reuse one set of weights (`SharedStack`, `Tied`), the patterns by which they
do (`SharingPattern`), quantization-aware training of such models (`quantize_model`)
and their export with the sharing intact (`export_tflite`, `audit`). The search for a
pattern is `keras_share.search`, imported on its own.
"""

from keras_share.auditing import Audit, audit
from keras_share.blocks import ConformerBlock, SeparableConvBlock, TransformerBlock
from keras_share.embeddings import FactorizedEmbedding
from keras_share.existing import find_sites, share, untie
from keras_share.export import export_tflite
from keras_share.pattern import SharingPattern
from keras_share.plot import plot_sharing
from keras_share.quantize import (
    QuantizationReport,
    QuantizeRule,
    quantization_report,
    quantize_model,
    register_rule,
)
from keras_share.relax import (
    Basis,
    LowRank,
    Relaxation,
    Relaxed,
    Scale,
    StepEmbedding,
    Templates,
    Weight,
)
from keras_share.rolling import RollReport, roll
from keras_share.stack import SharedStack
from keras_share.tflite import (
    MicroRun,
    benchmark,
    dedupe,
    export_c_array,
    plot_benchmark,
    predict_tflite,
    run_micro,
)
from keras_share.tied import Tied, TiedCloner
from keras_share.transposed import Transposed
from keras_share.version import __version__

__all__ = [
    "Audit",
    "Basis",
    "ConformerBlock",
    "FactorizedEmbedding",
    "LowRank",
    "MicroRun",
    "QuantizationReport",
    "QuantizeRule",
    "Relaxation",
    "Relaxed",
    "RollReport",
    "Scale",
    "SeparableConvBlock",
    "SharedStack",
    "SharingPattern",
    "StepEmbedding",
    "Templates",
    "Tied",
    "TiedCloner",
    "TransformerBlock",
    "Transposed",
    "Weight",
    "__version__",
    "audit",
    "benchmark",
    "dedupe",
    "export_c_array",
    "export_tflite",
    "find_sites",
    "plot_benchmark",
    "plot_sharing",
    "predict_tflite",
    "quantization_report",
    "quantize_model",
    "register_rule",
    "roll",
    "run_micro",
    "share",
    "untie",
]
