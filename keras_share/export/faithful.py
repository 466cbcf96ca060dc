"""Whether a file computes what the Keras model does."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_share.flat.flatten import input_structure
from keras_share.layers.sublayers import sublayers
from keras_share.tflite.runtimes.predict import predict_tflite

# How far the file's outputs may be from the Keras model's, as a share of the largest
# output. Quantized files differ by design; these bounds tell a file that is wrong.
TOLERANCES = {
    "float32": 1e-4,
    "float16": 2e-2,
    "dynamic": 0.25,
    "int8": 0.5,
    "int16": 0.1,
    "trained int8": 0.1,
    "trained int16": 0.1,
    "trained dynamic": 0.1,
}


def check_outputs(
    model: keras.Model,
    data: bytes,
    dataset: list[list[np.ndarray]],
    scheme: str,
    takes: Sequence[str],
    gives: Sequence[str],
) -> None:
    """Runs the file against the model that the user passed, not its rebuilt form.

    Args:
        model: The user's model.
        data: The bytes of the file.
        dataset: Samples of batch size 1.
        scheme: How the file is quantized.
        takes: The names of the file's inputs.
        gives: The names of its outputs, in the order of `keras.tree.flatten`.

    Raises:
        ValueError: If an output differs by more than the scheme explains.
    """
    columns = map(np.concatenate, zip(*dataset, strict=True))
    actual = predict_tflite(data, dict(zip(takes, columns, strict=True)))
    if not isinstance(actual, dict):
        actual = {gives[0]: actual}
    rows = [
        keras.tree.flatten(
            model(
                keras.tree.pack_sequence_as(input_structure(model), sample),
                training=False,
            )
        )
        for sample in dataset
    ]
    half = any(part.compute_dtype != "float32" for part in sublayers(model))
    allowed = max(TOLERANCES[scheme], TOLERANCES["float16"] if half else 0)
    for name, outputs in zip(gives, zip(*rows, strict=True), strict=True):
        arrays = [keras.ops.convert_to_numpy(output) for output in outputs]
        expected = np.concatenate(arrays).astype("float64")
        difference = np.abs(expected - actual[name]).max()
        share = difference / max(np.abs(expected).max(), 1e-6)
        if not share <= allowed:  # NaN compares as neither larger nor smaller
            raise ValueError(
                f"The file must compute what the model does. Its output '{name}' "
                f"differs by {share:.3g} of the largest value, more than the "
                f"{allowed} allowed for {scheme}; nothing was written. "
                "Quantized outputs this far off call for a representative_dataset of "
                "real samples, or for quantization-aware training."
            )
