"""Running a `.tflite` file in the LiteRT interpreter."""

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_share.tflite.file.flatbuffer import contents


def predict_tflite(
    source: str | os.PathLike | bytes, inputs: np.ndarray | Mapping[str, np.ndarray]
) -> np.ndarray | dict[str, np.ndarray]:
    """Runs a file on samples in LiteRT's interpreter.

    They go in one after the other or, where the file leaves the batch size open, all
    at once.

    Args:
        source: Path of a file with a signature, as `export_tflite` writes, or its
            bytes.
        inputs: The samples along the first axis; for several inputs, a dict from
            their names to arrays.

    Returns:
        The outputs along the first axis; for several outputs, a dict from their names
        in the file to arrays. Integers with a scale are converted to real numbers, as
        are real inputs to integers where the file takes such.

    Raises:
        ValueError: If the names or numbers of the inputs don't fit the file.

    Example:
    >>> import keras, keras_share, numpy as np
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    >>> report = keras_share.export_tflite(model, "model.tflite")
    >>> keras_share.predict_tflite("model.tflite", np.ones((5, 8), "float32")).shape
    (5, 2)
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=contents(source))
    signatures = list(interpreter.get_signature_list())
    if not signatures:
        raise ValueError("The file must have a signature. Received: one without.")
    runner = interpreter.get_signature_runner(signatures[0])
    takes, gives = runner.get_input_details(), runner.get_output_details()
    if not isinstance(inputs, Mapping):
        inputs = {next(iter(takes)): inputs} if len(takes) == 1 else {"": inputs}
    lengths = {len(array) for array in inputs.values()}
    if set(inputs) != set(takes) or len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            "`inputs` must give the file's inputs, with equally many samples, at least "
            f"one. The file takes {sorted(takes)}. "
            f"Received: { {name: len(array) for name, array in inputs.items()} }"
        )
    length = lengths.pop()
    is_open = all(list(d["shape_signature"][:1]) == [-1] for d in takes.values())
    step = length if is_open else 1
    rows = []
    for i in range(0, length, step):
        part = {k: np.asarray(inputs[k][i : i + step]) for k in takes}
        rows.append(runner(**{k: _to_file(part[k], takes[k]) for k in takes}))
    names = sorted(gives, key=_natural)
    outputs = {
        name: _from_file(np.concatenate([row[name] for row in rows]), gives[name])
        for name in names
    }
    return outputs if len(names) > 1 else outputs[names[0]]


def _natural(name: str) -> list[Any]:
    """Orders output_2 before output_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def to_integers(
    array: np.ndarray, dtype: np.dtype, scale: float, zero_point: int
) -> np.ndarray:
    """Real numbers as the integers of a quantized tensor; those outside at its ends."""
    limits = np.iinfo(dtype)
    array = np.round(array / scale) + zero_point
    return np.clip(array, limits.min, limits.max).astype(dtype)


def _to_file(array: np.ndarray, details: dict) -> np.ndarray:
    scale, zero_point = details["quantization"]
    if scale and np.issubdtype(array.dtype, np.floating):
        return to_integers(array, details["dtype"], scale, zero_point)
    return array.astype(details["dtype"])


def _from_file(array: np.ndarray, details: dict) -> np.ndarray:
    scale, zero_point = details["quantization"]
    if not scale or np.issubdtype(array.dtype, np.floating):
        return array
    return (array.astype("float32") - zero_point) * np.float32(scale)
