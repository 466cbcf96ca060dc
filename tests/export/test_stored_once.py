"""Kernels that the converter would store several times."""

import keras
import numpy as np
import pytest
from keras import layers
from random_data import randomize, values

import keras_share
from keras_share import SharedStack, export_tflite
from keras_share.export import inference


def kernels(report, shape):
    return [b for b in report.buffers if sorted(b.shape) == sorted(shape)]


def test_refuses_products_that_the_converter_folds(tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "activation_would_fold", lambda graph, step: False)
    inputs = x = keras.Input((12,))
    dense = layers.Dense(12, lambda x: keras.ops.relu(x) * 0.5)
    for _ in range(3):
        x = dense(x)
    model = randomize(keras.Model(inputs, x))
    path = tmp_path / "model.tflite"
    rule = "must be stored once; nothing was written. 'dense.*/kernel' is stored"
    with pytest.raises(ValueError, match=rule):
        export_tflite(model, path)
    assert not path.exists()
    with pytest.warns(UserWarning, match="times a factor per channel.*Keep it apart"):
        report = export_tflite(model, path, strict=False)
    assert len(kernels(report, (12, 12))) == 2


class Modulated(layers.Layer):
    """A convolution as StyleGAN's, whose kernel is read for its size, too."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(3, 3, shape[-1], 8), name="kernel")

    def call(self, x):
        style = keras.ops.mean(x, (1, 2))[:, None, None, :, None]
        size = keras.ops.sum(keras.ops.square(self.kernel * style), (1, 2, 3))
        return keras.ops.conv(x, self.kernel, padding="same") * size[:, None, None]


def test_warns_of_a_kernel_that_one_layer_reads_in_two_ways(tmp_path):
    model = randomize(keras.Sequential([keras.Input((6, 6, 4)), Modulated()]))
    path, x = tmp_path / "model.tflite", values(2, 6, 6, 4)
    with pytest.warns(UserWarning, match="modulated/kernel' is stored 2 times"):
        export_tflite(model, path)
    expected = np.asarray(model(x))
    np.testing.assert_allclose(keras_share.predict_tflite(path, x), expected, atol=1e-4)


@pytest.mark.filterwarnings("error::UserWarning")
def test_does_not_warn_where_kernels_are_private(tmp_path):
    inputs = keras.Input((12,))
    stack = SharedStack(layers.Dense(12, "relu"), "AAA", ["kernel"])
    export_tflite(keras.Model(inputs, stack(inputs)), tmp_path / "model.tflite")
