import re

import keras
import pytest
from keras import layers

from keras_share.retrofit.signature import difference, signature


def dense(units=4, width=4, **kwargs):
    layer = layers.Dense(units, **kwargs)
    layer.build((None, width))
    return layer


def nested(activation="relu", **kwargs):
    """A layer with a Functional model in its config, whose layers refer by name."""
    inputs = keras.Input((4,))
    x = layers.Dense(4)(inputs)
    model = keras.Model(inputs, layers.Add()([layers.Dense(4, activation)(x), x]))
    layer = layers.TimeDistributed(model, **kwargs)
    layer.build((None, 3, 4))
    return layer


def recurrent(**kwargs):
    layer = layers.Bidirectional(layers.LSTM(4, **kwargs))
    layer.build((None, 3, 4))
    return layer


@pytest.mark.parametrize(
    "a, b",
    [
        (dense(name="one"), dense(name="two")),
        (
            dense(kernel_initializer="zeros"),
            dense(kernel_initializer=keras.initializers.RandomNormal(seed=3)),
        ),
        (dense(activation="relu"), dense(activation=keras.activations.relu)),
        (nested(name="x"), nested(name="y")),
        (recurrent(dropout=0.1, seed=1), recurrent(dropout=0.1, seed=2)),
    ],
)
def test_equal_but_for_names_seeds_and_initializers(a, b):
    assert difference(a, b) is None
    assert signature(a) == signature(b)


@pytest.mark.parametrize(
    "a, b, message",
    [
        (dense(), nested(), "the class, Dense and TimeDistributed"),
        (dense(4), dense(5), "'units' in the config, 4 and 5"),
        (dense(width=4), dense(width=3), r"the shape of 'kernel', \(4, 4\) and \(3, 4"),
        (dense(), dense(activation="relu"), "'activation' in the config, 'linear' and"),
        (dense(), dense(trainable=False), "'trainable' in the config, True and False"),
        (dense(), dense(dtype="mixed_bfloat16"), "'dtype.name' in the config"),
        (dense(), dense(kernel_regularizer="l2"), "'kernel_regularizer' in the"),
        (nested(), nested("tanh"), "'layer.config.layers.2.config.activation' in the"),
        (recurrent(), recurrent(dropout=0.1), "'layer.config.dropout' in the config"),
    ],
)
def test_differences(a, b, message):
    assert re.match(message, difference(a, b))
    assert signature(a) != signature(b)


def test_weights_may_be_more_than_the_config_tells():
    class Growing(layers.Layer):
        def build(self, shape):
            for _ in range(shape[-1]):
                self.add_weight(shape=())

    one, two = Growing(), Growing()
    one.build((None, 1))
    two.build((None, 2))
    assert difference(one, two) == "the number of weights, 1 and 2"
    assert signature(one) != signature(two)
