"""Full int8 files of models of keras.applications, on each runtime.

    python benchmarks/application_files.py [--statistics] [MODEL ...]

With random weights: whether the files run, how far they are from the model and runtimes
from each other, beside a file of TensorFlow's own int8. With `--statistics` those of
BatchNormalization are a batch's, so that the signal doesn't fade from layer to layer.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

import keras_share as ks
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.runtimes.agreement import agreement_of, random_inputs
from keras_share.tflite.runtimes.apart import RunError, run_apart
from keras_share.tflite.runtimes.micro import run_micro

MODELS = {
    "MobileNet": {"alpha": 0.25},
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Small": {"alpha": 0.75},
    "MobileNetV3Large": {"alpha": 0.75},
    "EfficientNetB0": {},
    "EfficientNetV2B0": {},
    "NASNetMobile": {},
    "DenseNet121": {},
    "ResNet50": {},
    "ConvNeXtTiny": {},
}
RAW = ("EfficientNet", "MobileNetV3", "ConvNeXt")  # these take numbers up to 255
MODES = ("reference", "interpreter", "micro")
SHAPE = (32, 32, 3)


def ratio(right: list, other: list) -> float:
    """Signal to noise of outputs, in dB."""
    stacked = (np.stack([np.ravel(x) for x in part]) for part in (right, other))
    return round(agreement_of("", *stacked).ratio, 1)


def run(data: bytes, mode: str, x: np.ndarray) -> list | str:
    """The outputs of a file, or why there are none."""
    if mode == "micro":
        try:
            return list(run_micro(data, x).outputs)
        except ValueError as error:
            return str(error)
    [(key, inputs, places)] = random_inputs(flatbuffer.read(data))
    [name] = inputs
    calls = [(key, {name: row[None]}, places) for row in x]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        path.write_bytes(data)
        try:
            found = run_apart("run_once", mode, str(path), calls, timeout=600.0)
        except RunError as error:
            return str(error)
    return [next(iter(row.values())) for row in found]


def stock(model: keras.Model, x: np.ndarray) -> bytes:
    """TensorFlow's own int8 file."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([row[None]] for row in x)
    return converter.convert()


def measure(name: str, statistics: bool) -> dict[str, object]:
    """Exports one model, and runs it on samples."""
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(
        **{"weights": None, "input_shape": SHAPE, "classes": 10, **MODELS[name]}
    )
    x = np.random.default_rng(0).normal(size=(32, *SHAPE)).astype("float32")
    x = np.clip(x * 64 + 128, 0, 255) if name.startswith(RAW) else x
    if statistics:
        for layer in model.layers:
            layer.momentum = 0.0
        model(x, training=True)
    right = list(np.array(model(x)))
    row: dict[str, object] = {"model": name}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        options = {"quantization": "int8", "representative_dataset": x}
        ks.export_tflite(model, path, target="cpu", **options)
        for maker, data in ("", path.read_bytes()), ("stock ", stock(model, x)):
            outputs = {mode: run(data, mode, x) for mode in MODES}
            first = outputs["interpreter"]
            row[f"{maker}dB"] = first if isinstance(first, str) else ratio(right, first)
            for mode in (x for x in MODES if x != "interpreter"):
                found = outputs[mode]
                ran = not isinstance(found, str) and not isinstance(first, str)
                row[maker + mode] = ratio(first, found) if ran else "none"
    return row


def main() -> None:
    """Prints how far files are from the model, and other kernels from XNNPACK's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--statistics", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    rows = [measure(name, given.statistics) for name in given.models]
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
