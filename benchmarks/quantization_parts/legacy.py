"""TFMOT's own `quantize_model`, in a process of its own.

TFMOT takes models of the legacy tf_keras only, and importing it switches the whole
process to that. The task comes as JSON in the first argument; the result is written
to the file that the task names.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from quantization_parts import untied
from quantization_parts.timing import seconds_per_step

quantize_model = tfmot.quantization.keras.quantize_model


def build(task: dict[str, Any], shape: tuple[int, ...]) -> tf_keras.Model:
    """The network of a task."""
    return getattr(untied, task["untied"])(tf_keras, shape, **task["settings"])


def accuracy(task: dict[str, Any]) -> dict[str, Any]:
    """Trains, tunes and converts a network.

    What the networks say of the test set, and the file, come into the task's folder.
    """
    folder = Path(task["folder"])
    data = dict(np.load(task["data"]))
    x, x_test = (data[k].reshape(len(data[k]), *task["shape"]) for k in ("x", "x_test"))
    tf_keras.utils.set_random_seed(task["seed"])
    model = build(task, x.shape[1:])
    try:
        quantize_model(model)
    except Exception as error:  # whatever it refuses with is the result
        reason = str(error).splitlines()[0]
        return {"refused": f"{type(error).__name__}: {reason}"}
    training = task["training"]
    fit(model, x, data["y"], training["epochs"], training["rate"], training)
    np.save(folder / "legacy_float.npy", model.predict(x_test, verbose=0))
    # Quantized anew: the copy above was of the untrained weights.
    quantized = quantize_model(model)
    epochs, rate = training["tuning_epochs"], training["tuning_rate"]
    fit(quantized, x, data["y"], epochs, rate, training)
    converter = tf.lite.TFLiteConverter.from_keras_model(quantized)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    (folder / "tfmot.tflite").write_bytes(converter.convert())
    return {"parameters": model.count_params()}


def fit(
    model: tf_keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    epochs: int,
    rate: float,
    training: dict[str, Any],
) -> None:
    """Trains as the networks of Keras 3 are trained."""
    batch = training["batch_size"]
    schedule = tf_keras.optimizers.schedules.CosineDecay(
        rate, epochs * -(-len(x) // batch)
    )
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.Adam(schedule), loss)
    model.fit(x, y, epochs=epochs, batch_size=batch, verbose=0)


def step(task: dict[str, Any]) -> dict[str, Any]:
    """Seconds of the training steps of a network and of its quantized form."""
    shape = tuple(task["shape"])
    model = build(task, shape)
    models = [model, quantize_model(model)]
    for each in models:
        each.compile("adam", "mse", jit_compile=task["jit"])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(task["batch"], *shape)).astype("float32")
    y = rng.normal(size=(task["batch"], 10)).astype("float32")
    return {"seconds": seconds_per_step(models, x, y, task["rounds"])}


def main() -> None:
    """Does what the task says."""
    task = json.loads(sys.argv[1])
    result = {"accuracy": accuracy, "step": step}[task["part"]](task)
    Path(task["result"]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
