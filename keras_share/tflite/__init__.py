"""What can be done with a `.tflite` file, wherever it came from."""

from keras_share.tflite.audit import Audit, BufferFacts, OperatorFacts, audit
from keras_share.tflite.c_array import export_c_array
from keras_share.tflite.dedupe import dedupe
from keras_share.tflite.micro import MicroRun, run_micro
from keras_share.tflite.run import predict as predict_tflite

__all__ = [
    "Audit",
    "BufferFacts",
    "MicroRun",
    "OperatorFacts",
    "audit",
    "dedupe",
    "export_c_array",
    "predict_tflite",
    "run_micro",
]
