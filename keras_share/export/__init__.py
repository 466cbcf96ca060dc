"""Export to `.tflite`, and facts about such files."""

from keras_share.export.audit import Audit, BufferFacts, OperatorFacts, audit
from keras_share.export.c_array import export_c_array
from keras_share.export.convert import export_tflite
from keras_share.export.dedupe import dedupe
from keras_share.export.micro import MicroRun, run_micro
from keras_share.export.run import predict as predict_tflite

__all__ = [
    "Audit",
    "BufferFacts",
    "MicroRun",
    "OperatorFacts",
    "audit",
    "dedupe",
    "export_c_array",
    "export_tflite",
    "predict_tflite",
    "run_micro",
]
