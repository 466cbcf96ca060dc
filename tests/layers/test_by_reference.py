"""Layers with functions and objects that Keras doesn't know."""

import functools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from older_keras import marked
from random_data import randomize, values

from keras_share import SharedStack, export_tflite, quantize_model, share, untie
from keras_share.layers.copying import NoCopyError, copy_layer

FACTOR = 0.5


def halved(x):
    return ops.relu(x) * FACTOR


class Sum(keras.regularizers.Regularizer):
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * ops.sum(x)


class Constant:
    def __call__(self, shape, dtype=None):
        return ops.ones(shape, dtype)


class Own(layers.Layer):
    """Not registered, with a config of live objects."""

    def __init__(self, function, units=8, **kwargs):
        super().__init__(**kwargs)
        self.function, self.units = function, units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units))

    def call(self, x):
        return self.function(x @ self.kernel)

    def get_config(self):
        return {**super().get_config(), "function": self.function, "units": self.units}


class NoConfig(layers.Layer):
    def __init__(self, function, weighted=False, **kwargs):
        super().__init__(**kwargs)
        self.apply, self.has_scale = function, weighted

    def build(self, input_shape):
        if self.has_scale:
            self.scale = self.add_weight(shape=input_shape[-1:], initializer="ones")

    def call(self, x):
        return self.apply(x) * (self.scale if self.has_scale else 1.0)


def dense(**kwargs):
    return layers.Dense(8, **kwargs)


LAYERS = {
    "lambda": lambda: layers.Lambda(lambda x: x * FACTOR, output_shape=(8,)),
    "named": lambda: layers.Lambda(halved, arguments={}, output_shape=lambda s: s),
    "arrays": lambda: layers.Lambda(lambda x, w: x * w, arguments={"w": values(8)}),
    "activation": lambda: dense(activation=halved),
    "partial": lambda: dense(activation=functools.partial(ops.leaky_relu)),
    "tensorflow": lambda: dense(activation=tf.nn.crelu),
    "regularizers": lambda: dense(
        kernel_regularizer=lambda w: 2 * ops.sum(w), bias_regularizer=Sum(2.0)
    ),
    "others": lambda: dense(kernel_constraint=lambda w: w, bias_initializer=Constant()),
    "wrapped": lambda: layers.TimeDistributed(dense(activation=halved)),
    "own": lambda: Own(halved),
    "recurrent": lambda: layers.LSTM(8, activation=halved, return_sequences=True),
}


@pytest.mark.parametrize("kind", marked(LAYERS, {"regularizers", "others"}))
def test_a_copy_computes_the_same(kind):
    layer, x = LAYERS[kind](), values(2, 3, 8)
    layer(x)
    before = dict(vars(layer))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copy = copy_layer(layer, name="copy")
    assert copy.name == "copy"
    copy.build(x.shape)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(x), layer(x))
    assert sum(copy.losses) == sum(layer.losses)
    assert all(vars(layer)[name] is value for name, value in before.items())


def test_objects_with_seeds_are_not_the_same():
    class Normal(keras.initializers.RandomNormal):
        pass

    block = dense(kernel_initializer=Normal())
    stack = SharedStack(block, "AB")
    stack.build((None, 8))
    kernels = [np.array(b.kernel) for b in stack.blocks]
    assert np.abs(kernels[0] - kernels[1]).max() > 0
    assert type(stack.blocks[0].kernel_initializer) is Normal


def test_models_of_such_layers_are_shared_quantized_and_exported(tmp_path):
    hidden = [
        Own(halved),
        dense(activation=halved),
        dense(activation=halved),
        dense(activation=halved),
        layers.Lambda(lambda x: x * FACTOR),
        NoConfig(halved, name="none"),
    ]
    model = randomize(keras.Sequential([keras.Input((8,)), *hidden]))
    x = values(8, 8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Parts of the model stay in float")
        shared = share(model, "shared")
        quantized = quantize_model(shared, x)
    assert shared.count_params() == model.count_params() - 2 * 72
    untied = untie(shared)
    np.testing.assert_allclose(untied(x), shared(x), atol=1e-6)
    sets = [{id(v) for v in m.weights} for m in (model, shared, untied, quantized)]
    assert len(set().union(*sets)) == sum(map(len, sets))
    for exported in (model, shared, quantized):
        path = tmp_path / "model.tflite"
        report = export_tflite(exported, path, representative_dataset=x)
        assert not report.untied


def test_what_cannot_be_copied_is_used_where_it_need_not_change(tmp_path):
    last = NoConfig(halved, weighted=True, name="last")
    stages = [dense(name=f"dense_{i}") for i in range(3)]
    model = randomize(keras.Sequential([keras.Input((8,)), *stages, last]))
    before = model.get_weights()
    export_tflite(model, tmp_path / "model.tflite")
    message = "'last' of type NoConfig can't be: its `get_config` must return"
    with pytest.raises(NoCopyError, match=message):
        share(model, "shared")
    quantized = quantize_model(model)  # its operations, on its weights
    np.testing.assert_allclose(quantized(x := values(4, 8)), model(x), atol=0.3)
    for value, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)


def test_functions_tell_layers_apart():
    def scaled(factor):
        return lambda x: x * factor

    model = keras.Sequential([keras.Input((8,))])
    for factor in (1, 1, 2, 2):
        model.add(dense(activation=scaled(factor)))
    names = [layer.name for layer in model.layers]
    assert share(model, [names[:2], names[2:]]).count_params() == 2 * 72
    with pytest.raises(ValueError, match=r"differ in 'activation.*' in the config"):
        share(model, [names[1:3]])
