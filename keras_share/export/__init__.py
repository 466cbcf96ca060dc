"""Export to `.tflite`, and facts about such files."""

from keras_share.export.audit import Audit, BufferFacts, OperatorFacts, audit
from keras_share.export.convert import export_tflite
from keras_share.export.dedupe import dedupe
from keras_share.export.run import predict as predict_tflite

__all__ = [
    "Audit",
    "BufferFacts",
    "OperatorFacts",
    "audit",
    "dedupe",
    "export_tflite",
    "predict_tflite",
]
