import keras
import numpy as np
import pytest
from keras import ops
from random_data import values

from keras_share import export_tflite, predict_tflite, quantize_model
from keras_share.layers import PastFrames


def expected(x, window, padding):
    if padding == "causal":
        x = np.pad(x, [(0, 0), (window - 1, 0), *[(0, 0)] * (x.ndim - 2)])
    starts = range(x.shape[1] - window + 1)
    return np.stack([x[:, i : i + window] for i in starts], axis=1)


@pytest.mark.parametrize("length", [None, 5])
@pytest.mark.parametrize("window", [1, 2, 5])
@pytest.mark.parametrize("padding", ["causal", "valid"])
def test_frames_are_those_of_the_window(window, padding, length):
    layer = PastFrames(window, padding)
    for rest in ((), (3,), (3, 2)):
        x = values(2, 5, *rest)
        inputs = keras.Input((length, *rest))
        model = keras.Model(inputs, layer(inputs))
        found = ops.convert_to_numpy(model(x))
        np.testing.assert_array_equal(found, expected(x, window, padding))
        assert layer.compute_output_shape(x.shape) == found.shape
        frames = found.shape[1] if length or padding == "causal" else None
        assert model.output_shape[1:] == (length and frames, window, *rest)


def test_config_round_trip():
    layer = PastFrames(3, "valid", name="mine")
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert copy.get_config() == layer.get_config()
    assert (copy.window, copy.padding, copy.name) == (3, "valid", "mine")


def test_rejects_arguments():
    with pytest.raises(ValueError, match=r"`window` must be an integer .* window=0"):
        PastFrames(0)
    with pytest.raises(ValueError, match=r"`padding` must be 'causal' .*='same'"):
        PastFrames(2, "same")


def test_integers_are_moved(tmp_path):
    model = keras.Sequential([keras.Input((6, 3)), PastFrames(4)])
    x, path = values(8, 6, 3), tmp_path / "model.tflite"
    quantized = quantize_model(model, x, strict=True)
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators
    found = predict_tflite(path, x)
    np.testing.assert_array_equal(found, ops.convert_to_numpy(quantized(x)))
    np.testing.assert_allclose(found, expected(x, 4, "causal"), atol=0.02)
