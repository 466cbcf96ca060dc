"""A model whose blocks can be shared."""

import keras
from keras import layers
from random_data import randomize


def blocks(num_blocks=4, name="net"):
    """Dense and normalization, 20 and 16 parameters a block, 10 at the end."""
    model = keras.Sequential([keras.Input((4,))], name=name)
    for i in range(num_blocks):
        model.add(layers.Dense(4, activation="tanh", name=f"dense_{i}"))
        model.add(layers.BatchNormalization(name=f"norm_{i}"))
        model.add(layers.Dropout(0.1 * i))
    model.add(layers.Dense(2, name="head"))
    return randomize(model)
