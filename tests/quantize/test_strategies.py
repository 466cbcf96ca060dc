"""Quantized models under a distribution strategy, in a process with two devices."""

import os
import subprocess
import sys

SCRIPT = """
import tensorflow as tf
one = tf.config.LogicalDeviceConfiguration()
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [one, one])

import keras, numpy as np
from keras_share import SharedStack, export_tflite, quantize_model, share

def ranges(model):
    found = [x for x in model.layers if hasattr(x, "min")]
    ends = [keras.ops.convert_to_numpy(v) for x in found for v in (x.min, x.max)]
    return np.array(ends)

def model_of():
    hidden = [keras.layers.Dense(8, activation="relu") for _ in range(3)]
    return keras.Sequential([keras.Input((8,)), *hidden])

x = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
plain = model_of()
expected = ranges(quantize_model(plain, x))
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
with strategy.scope():
    model = model_of()
    model.set_weights(plain.get_weights())
    quantized = quantize_model(model, x)
    np.testing.assert_allclose(ranges(quantized), expected, rtol=1e-6)
    quantized.compile("adam", "mse", jit_compile=False)
    quantized.fit(2 * x, x, verbose=0)
    moved = [x.min.value for x in quantized.layers if hasattr(x, "min")]
    assert all(float(a) == float(b) for a, b in (v.values for v in moved))
    assert np.abs(ranges(quantized) - expected).max() > 0
    shared = share(model, "shared")
    export_tflite(shared, "model.tflite", quantization="float32")
    quantized.save("model.keras")
    export_tflite(quantized, "model.tflite", representative_dataset=x)
loaded = keras.models.load_model("model.keras")
export_tflite(loaded, "model.tflite", representative_dataset=x)
"""


def test_a_model_is_calibrated_trained_saved_and_exported_in_the_scope(tmp_path):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
