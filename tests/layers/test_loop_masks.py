"""Masks, in a stack whose sites run in a loop."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from looped import Count, assert_same
from random_data import randomize, values

from keras_share import SharedStack
from keras_share.blocks import TransformerBlock


class Step(layers.Layer):
    """Uses the mask of its input, and hands it on or not."""

    def __init__(self, supports_masking=True, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = supports_masking
        self.dense = layers.Dense(4)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x, mask=None):
        y = x + ops.tanh(self.dense(x))
        return y if mask is None else ops.where(ops.expand_dims(mask, -1), y, -y)

    def compute_output_shape(self, shape):
        return shape


def masked_model(block, pattern, shape, **kwargs):
    inputs = keras.Input(shape, dtype="int32")
    x = layers.Embedding(5, 4, mask_zero=True)(inputs)
    x = SharedStack(block, pattern, private=None, **kwargs)(x)
    return randomize(keras.Model(inputs, layers.GlobalAveragePooling1D()(x)))


TOKENS = np.array([[1, 2, 0, 0], [3, 4, 1, 0]])


@pytest.mark.parametrize(
    "block",
    [
        Step,
        lambda: keras.Sequential([Step(), Count()]),
        lambda: TransformerBlock(2, 8),
        # Takes the mask away.
        lambda: Step(supports_masking=False),
        # Makes one: of what is zero at first, nothing.
        lambda: keras.Sequential([layers.Masking(0.0), Step()]),
    ],
    ids=["mask", "sequential", "transformer", "drops", "makes"],
)
@pytest.mark.filterwarnings("ignore:.*destroy the mask")
def test_masks(block):
    assert_same(block, "AAA", (4,), x=TOKENS, model=masked_model)


@pytest.mark.filterwarnings("ignore:.*destroy the mask")
def test_a_mask_made_inside():
    block = lambda: keras.Sequential([layers.Masking(0.0), Step()])  # noqa: E731
    x = values(4, 3, 4)
    x[:2, 1:] = 0
    assert_same(block, "AAAA", (3, 4), x=x)
