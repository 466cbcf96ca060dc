"""What can be done with a `.tflite` file, wherever it came from."""

from keras_share.tflite.benchmark import benchmark
from keras_share.tflite.c_array import export_c_array
from keras_share.tflite.dedupe import dedupe
from keras_share.tflite.micro import MicroRun, run_micro
from keras_share.tflite.plot_benchmark import plot_benchmark
from keras_share.tflite.run import predict as predict_tflite

__all__ = [
    "MicroRun",
    "benchmark",
    "dedupe",
    "export_c_array",
    "plot_benchmark",
    "predict_tflite",
    "run_micro",
]
