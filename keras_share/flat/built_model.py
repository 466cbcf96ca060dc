"""What is taken apart: a built model, of numbers."""

from typing import Any

import keras

from keras_share.layers.sublayers import sublayers


def input_structure(model: keras.Model) -> Any:
    """The inputs of a model as it takes them: one, or a structure of several."""
    # A Sequential model has `input` only once it was called.
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def check_numbers(model: Any) -> None:
    """Raises ValueError unless a built model computes with floating-point weights."""
    check_model(model)
    for x in model.inputs:
        if x.dtype == "string":
            raise ValueError(
                "A model to be quantized or exported must take numbers. Make them of "
                "the text before, and leave the layers that do so out of the model. "
                f"Received: the input '{x.name}' of dtype string"
            )
        form = next((f for f in ("ragged", "sparse") if getattr(x, f, False)), None)
        if form:
            raise ValueError(
                "A model to be quantized or exported must take dense arrays, padded to "
                f"one length (keras.utils.pad_sequences). Received: the {form} input "
                f"'{x.name}'"
            )
    for layer in sublayers(model):
        if isinstance(layer, (keras.layers.Hashing, keras.layers.HashedCrossing)):
            raise ValueError(
                "TFLite has no operator that hashes: leave such layers out of a model "
                "to be quantized or exported, and pass it what they make. Received: "
                f"the layer '{layer.name}'"
            )
    check_weights(model)


def check_weights(model: keras.Model) -> None:
    """Raises ValueError unless the weights of a model are the numbers it was given."""
    for layer in sublayers(model):
        if isinstance(layer, keras.layers.Layer) and layer.quantization_mode:
            raise ValueError(
                "A model to be shared, quantized or exported must have its float "
                f"weights. Received: the layer '{layer.name}', of which Keras's own "
                f"`quantize` left {layer.quantization_mode} weights. Pass the model "
                "from before, and choose here how to quantize it: "
                "export_tflite(model, path, quantization='dynamic')"
            )


def check_model(model: Any) -> None:
    """Raises ValueError unless `model` is a built Sequential or Functional model."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"A Keras model is needed. Received: {model!r} of type {type(model)}"
        )
    try:
        inputs = model.inputs
        outputs = model.outputs
    except AttributeError:
        inputs = outputs = None
    if not inputs or not outputs:
        kind = "has no inputs and outputs to walk between"
        if isinstance(model, keras.Sequential):
            kind = "is not built: add a `keras.Input` as its first layer"
        raise ValueError(
            "A built Sequential or Functional model is needed. The model "
            f"'{model.name}' of type {type(model).__name__} {kind}. A subclassed model "
            "can be wrapped: `x = keras.Input(...); keras.Model(x, model(x))`."
        )
