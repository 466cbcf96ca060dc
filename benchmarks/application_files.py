"""Full int8 files of models of keras.applications, on each runtime.

    python benchmarks/application_files.py [MODEL ...]

With random weights: whether the files run, and how far runtimes are apart.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import keras
import numpy as np
import pandas as pd

import keras_share as ks
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.runtimes.agreement import difference, random_inputs
from keras_share.tflite.runtimes.apart import RunError, run_apart

MODELS = ("MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0")
MODES = ("reference", "interpreter", "micro")
SHAPE = (96, 96, 3)


def measure(name: str) -> dict[str, object]:
    """Exports one model, and runs it on random inputs."""
    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=SHAPE, classes=10)
    x = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype("float32")
    row: dict[str, object] = {"model": name}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        report = ks.export_tflite(
            model, path, target="cpu", quantization="int8", representative_dataset=x
        )
        row["dB"] = round(report.agreement[0].ratio, 1)
        calls = random_inputs(flatbuffer.read(path))
        right = None
        for mode in MODES:
            try:
                outputs = run_apart("run_once", mode, str(path), calls, timeout=600.0)
            except RunError as error:
                row[mode] = str(error)
                continue
            right = outputs if right is None else right
            row[mode] = f"{difference(right, outputs):.4f}"
    return row


def main() -> None:
    """Prints how far the outputs of each runtime are from the reference kernels'."""
    warnings.simplefilter("ignore", UserWarning)
    rows = [measure(name) for name in sys.argv[1:] or MODELS]
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
