"""The six-site network that the tables are made with."""

from typing import Any

import keras
from keras import layers, ops

import keras_share as ks

NUM_SITES = 6
FEATURES = 16  # of the part of the input that a site reads
WIDTH = 64
CLASSES = 10


@keras.saving.register_keras_serializable(package="search_tables")
class ReadPart(layers.Layer):
    """Reads the next part of the input and adds what it finds to a running sum.

    Call arguments:
        inputs: The sum, 64 channels, and all parts in a row, `(batch, 160)`.

    Output shape:
        As the input: the new sum, and the part that was read goes to the end.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.dense = layers.Dense(WIDTH, activation="relu")

    def build(self, input_shape: Any) -> None:
        self.dense.build((None, FEATURES))

    def call(self, inputs: Any) -> Any:
        total, part, rest = ops.split(inputs, [WIDTH, WIDTH + FEATURES], axis=-1)
        return ops.concatenate([total + self.dense(part), rest, part], axis=-1)


def keras_model(pattern: Any) -> keras.Model:
    """The network as a user writes it.

    Each site reads another part of the input: two rows of a digit, or a sixth of a
    word. Sites that share look at their parts with the same eyes, and the sum doesn't
    tell which of them saw what: it matters which sites share, not only how many.
    """
    inputs = keras.Input((NUM_SITES * FEATURES,))
    x = ops.pad(inputs, ((0, 0), (WIDTH, 0)))
    x = ks.SharedStack(ReadPart(), pattern, num_sites=NUM_SITES, name="stack")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, name="head")(x[:, :WIDTH]))


def parameters(num_groups: int) -> int:
    """Number of parameters of the network, by counting."""
    return num_groups * (FEATURES + 1) * WIDTH + (WIDTH + 1) * CLASSES
