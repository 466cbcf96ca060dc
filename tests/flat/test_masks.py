"""Masks that Keras passes on beside tensors reach the same layers in what we build."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize

from keras_share.flat.flatten import flatten
from keras_share.flat.masks import mask_of
from keras_share.flat.rebuild import Rebuilder


class Block(layers.Layer):
    """A layer without an argument for masks, of which those inside see one."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(2, 4)
        self.norm = layers.LayerNormalization()
        self.supports_masking = True

    def build(self, shape):
        self.attention.build(shape, shape)
        self.norm.build(shape)

    def call(self, x):
        return self.norm(x + self.attention(x, x))


MODELS = {
    "lstm": layers.LSTM(4),
    "sequence": lambda x: layers.GRU(4, return_sequences=True)(x)[:, :1],
    "both_ways": layers.Bidirectional(layers.LSTM(3)),
    "pooling": layers.GlobalAveragePooling1D(),
    "block": lambda x: layers.GlobalAveragePooling1D()(Block()(x)),
    "list": lambda x: layers.GlobalAveragePooling1D()(layers.Attention()([x, x])),
    "dropped": lambda x: layers.LSTM(4)(x * 2.0),
}


def embedded(rest):
    ids = keras.Input((6,), dtype="int32")
    return keras.Model(ids, rest(layers.Embedding(20, 8, mask_zero=True)(ids)))


def rebuild(graph):
    builder = Rebuilder(graph)
    for step in graph:
        builder.set(step.outputs, builder.call(step))
    return builder.finish()


@pytest.mark.parametrize("name", MODELS)
def test_padded_inputs_give_the_same_numbers(name):
    model = randomize(embedded(MODELS[name]))
    ids = np.random.default_rng(0).integers(1, 20, (4, 6))
    for row, length in enumerate((6, 4, 2, 1)):
        ids[row, length:] = 0
    rebuilt = rebuild(flatten(model, inference=True))
    np.testing.assert_allclose(rebuilt(ids), model(ids), atol=1e-5)


def test_masking_by_values():
    x = keras.Input((5, 3))
    model = randomize(keras.Model(x, layers.LSTM(4)(layers.Masking()(x))))
    data = np.random.default_rng(0).normal(size=(3, 5, 3)).astype("float32")
    data[1, 2:] = 0
    rebuilt = rebuild(flatten(model, inference=True))
    np.testing.assert_allclose(rebuilt(data), model(data), atol=1e-5)


def test_keras_keeps_masks_where_we_read_them():
    table = layers.Embedding(4, 2, mask_zero=True)
    assert mask_of(table(np.array([[1, 0]]))).numpy().tolist() == [[True, False]]
    assert mask_of(ops.relu(table(np.array([[1, 0]])))) is None
