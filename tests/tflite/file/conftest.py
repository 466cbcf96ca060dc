"""A file whose one kernel has three uses."""

import keras
import pytest
import tensorflow as tf

from keras_share.tflite.file import flatbuffer

UNITS = 32


@pytest.fixture(scope="module")
def tied():
    x = keras.Input((UNITS,), batch_size=1)
    dense = keras.layers.Dense(UNITS, use_bias=False)
    model = keras.Model(x, dense(dense(dense(x))))
    return tf.lite.TFLiteConverter.from_keras_model(model).convert()


@pytest.fixture
def model(tied):
    return flatbuffer.read(tied)
