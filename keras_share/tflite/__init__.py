"""What can be done with a `.tflite` file, wherever it came from.

Nothing here takes in Keras or TensorFlow.
"""

from keras_share.tflite.file.c_array import export_c_array
from keras_share.tflite.file.dedupe import DedupeReport, dedupe
from keras_share.tflite.inspect.audit import Audit, audit
from keras_share.tflite.repeats.roll import RollReport, roll
from keras_share.tflite.runtimes.benchmark import benchmark
from keras_share.tflite.runtimes.micro import MicroRun, run_micro
from keras_share.tflite.runtimes.plot_benchmark import plot_benchmark
from keras_share.tflite.runtimes.predict import predict_tflite

__all__ = [
    "Audit",
    "DedupeReport",
    "MicroRun",
    "RollReport",
    "audit",
    "benchmark",
    "dedupe",
    "export_c_array",
    "plot_benchmark",
    "predict_tflite",
    "roll",
    "run_micro",
]
