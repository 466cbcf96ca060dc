import keras
import numpy as np
import tensorflow as tf
from keras import layers
from random_data import values

from keras_share.quantize import quantize_model
from keras_share.quantize.inverse_root import InverseRoot


def test_is_the_inverse_of_the_root():
    layer = InverseRoot(1e-3)
    x = np.array([[0.25, 4.0]], "float32")
    for training in (True, False):
        np.testing.assert_allclose(layer(x, training=training), [[2.0, 0.5]], rtol=1e-6)
    copy = InverseRoot.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()


def test_a_variance_that_is_rounded_to_zero_has_a_finite_gradient():
    # One token is a thousand times as large as the others, whose variance is less
    # than half a step of the range.
    x = values(4, 6, 8)
    x[:, 0] *= 1000
    stages = [layers.Dense(8), layers.LayerNormalization(), layers.Dense(3)]
    model = keras.Sequential([keras.Input((6, 8)), *stages])
    quantized = quantize_model(model, representative_dataset=x, strict=True)
    weights = [v.value for v in quantized.trainable_variables]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(quantized(x, training=True) ** 2)
    for gradient in tape.gradient(loss, weights):
        assert np.isfinite(gradient).all()
