"""What a quantized model still knows of the one that it was made of."""

import keras
from keras import layers
from random_data import randomize, values

from keras_share import SharedStack, audit, export_tflite, quantize_model
from keras_share.blocks import TransformerBlock
from keras_share.quantize.quantized_model import patterns_of

PATTERNS = {"dense": "ABA", "parts": {"attention": "AA", "feedforward": "AB"}}


def model_of():
    inputs = keras.Input((3, 8))
    x = SharedStack(layers.Dense(8, "relu"), "ABA", name="dense")(inputs)
    block = TransformerBlock(2, 8)
    x = SharedStack(block, PATTERNS["parts"], name="parts")(x)
    return randomize(keras.Model(inputs, x, name="two_stacks"))


def test_name_and_patterns_are_in_the_file_of_a_saved_model(tmp_path):
    model, x = model_of(), values(4, 3, 8)
    assert patterns_of(model) == PATTERNS
    quantized = quantize_model(model, x)
    quantized.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    export_tflite(loaded, tmp_path / "model.tflite")
    metadata = audit(tmp_path / "model.tflite").metadata
    assert metadata["name"] == "two_stacks"
    assert metadata["patterns"] == PATTERNS
    assert (metadata["quantization"], metadata["quantization_aware"]) == ("int8", True)


def test_patterns_of_a_quantized_model_inside_another():
    inputs = keras.Input((8,))
    stack = SharedStack(layers.Dense(8, "relu"), "AAB", name="inner")
    quantized = quantize_model(keras.Model(inputs, stack(inputs)), values(4, 8))
    outer = keras.Sequential([keras.Input((8,)), quantized, layers.Softmax()])
    assert patterns_of(outer) == {"inner": "AAB"}
