"""Files are run as they say."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from random_data import values

import keras_share as ks
from keras_share.tflite.file import flatbuffer


def test_lists_are_in_the_order_of_the_model(tmp_path):
    query, document = keras.Input((4,), name="query"), keras.Input((4,), name="doc")
    model = keras.Model([query, document], keras.layers.Subtract()([query, document]))
    ks.export_tflite(model, tmp_path / "model.tflite")
    q, d = values(3, 4), 2 * values(3, 4)
    for given in ([q, d], {"doc": d, "query": q}):
        result = ks.predict_tflite(tmp_path / "model.tflite", given)
        np.testing.assert_allclose(result, q - d, atol=1e-6)


def test_outputs_are_in_the_order_of_the_model(tmp_path):
    image = keras.Input((4,))
    names = ["zebra", "apple", "b10", "b9"]
    outputs = [keras.layers.Dense(1, name=name)(image) for name in names]
    ks.export_tflite(keras.Model(image, outputs), tmp_path / "model.tflite")
    assert list(ks.predict_tflite(tmp_path / "model.tflite", values(2, 4))) == names


class Many(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32)])
    def call(self, x):
        return {f"output_{i}": x * float(i) for i in range(12)}


def test_outputs_of_the_converter_are_in_the_order_of_their_numbers():
    many = Many()
    function = many.call.get_concrete_function()
    data = tf.lite.TFLiteConverter.from_concrete_functions([function], many).convert()
    found = ks.predict_tflite(data, values(2, 4))
    assert list(found) == [f"output_{i}" for i in range(12)]


class Codec(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32)])
    def encode(self, x):
        return {"code": x * 2.0}

    @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32)])
    def decode(self, code):
        return {"x": code * 0.5}


def test_one_of_several_signatures():
    codec = Codec()
    functions = [codec.encode, codec.decode]
    data = tf.lite.TFLiteConverter.from_concrete_functions(
        [f.get_concrete_function() for f in functions], codec
    )
    data = data.convert()
    x = values(2, 4)
    with pytest.raises(ValueError, match=r"Received: None.*\['decode', 'encode'\]"):
        ks.predict_tflite(data, x)
    with pytest.raises(ValueError, match="Received: 'code'"):
        ks.predict_tflite(data, x, signature="code")
    encoded = ks.predict_tflite(data, x, signature="encode")
    np.testing.assert_allclose(encoded, 2 * x)
    np.testing.assert_allclose(ks.predict_tflite(data, x, signature="decode"), x / 2)


def test_a_file_that_the_interpreter_refuses(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    ks.export_tflite(model, tmp_path / "model.tflite")
    parsed = flatbuffer.read(tmp_path / "model.tflite")
    [graph] = parsed.subgraphs
    graph.operators[0].outputs = graph.operators[0].inputs[:1]
    with pytest.raises(ValueError, match="must be able to run the file"):
        ks.predict_tflite(flatbuffer.pack(parsed), values(2, 4))
    parsed.subgraphs, parsed.signatureDefs = [], []
    with pytest.raises(ValueError, match="must have a subgraph"):
        ks.predict_tflite(flatbuffer.pack(parsed), values(2, 4))
