"""Whether a file computes what the Keras model does."""

import keras
import numpy as np

from keras_share.export.ends import Ends
from keras_share.flat.flatten import input_structure
from keras_share.layers.sublayers import sublayers
from keras_share.quantize.quantization import Quantization
from keras_share.tflite.runtimes.predict import predict_tflite

# How far the file's outputs may be from the Keras model's, as a share of the largest
# output. Quantized files differ by design; these bounds tell a file that is wrong.
TOLERANCES = {
    Quantization.FLOAT32: 1e-4,
    Quantization.FLOAT16: 2e-2,
    Quantization.DYNAMIC: 0.25,
    Quantization.INT8: 0.5,
}
AWARE_TOLERANCE = 0.1  # of a model that was quantized before


def check_outputs(
    model: keras.Model,
    data: bytes,
    dataset: list[list[np.ndarray]],
    quantization: Quantization,
    aware: bool,
    ends: Ends,
) -> None:
    """Runs the file against the model that the user passed, not its rebuilt form.

    Args:
        model: The user's model.
        data: The bytes of the file.
        dataset: Samples of batch size 1.
        quantization: How the file is quantized.
        aware: Whether the model is, too.
        ends: The file's inputs and outputs.

    Raises:
        ValueError: If an output differs by more than the quantization explains.
    """
    columns = map(np.concatenate, zip(*dataset, strict=True))
    actual = predict_tflite(data, dict(zip(ends.inputs, columns, strict=True)))
    if not isinstance(actual, dict):
        actual = {ends.outputs[0]: actual}
    structure = input_structure(model)
    packed = [keras.tree.pack_sequence_as(structure, sample) for sample in dataset]
    rows = [keras.tree.flatten(model(inputs, training=False)) for inputs in packed]
    allowed = AWARE_TOLERANCE if aware else TOLERANCES[quantization]
    if any(part.compute_dtype != "float32" for part in sublayers(model)):
        allowed = max(allowed, TOLERANCES[Quantization.FLOAT16])
    for name, outputs in zip(ends.outputs, zip(*rows, strict=True), strict=True):
        arrays = [keras.ops.convert_to_numpy(output) for output in outputs]
        expected = np.concatenate(arrays).astype("float64")
        difference = np.abs(expected - actual[name]).max()
        share = difference / max(np.abs(expected).max(), 1e-6)
        if not share <= allowed:  # NaN compares as neither larger nor smaller
            raise ValueError(
                f"The file must compute what the model does. Its output '{name}' "
                f"differs by {share:.3g} of the largest value, more than the "
                f"{allowed} allowed for {quantization}; nothing was written. "
                "Quantized outputs this far off call for a representative_dataset of "
                "real samples, or for quantization-aware training."
            )
