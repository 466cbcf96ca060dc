"""Trials on several devices at once, here virtual ones of a CPU."""

import subprocess
import sys

import pytest
from other_backends import environment

SCRIPT = """
import sys
import keras
import numpy as np
import keras_share as ks
from keras_share.search import SharingSearch, sharing_pattern

kwargs = {}
if keras.backend.backend() == "jax":
    devices = keras.distribution.list_devices()
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))

    def num_devices(model):
        return len(model.weights[0].value.sharding.device_set)
else:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    kwargs["distribution_strategy"] = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    def num_devices(model):
        return len(model.weights[0].value.values)

def build(hp):
    pattern = sharing_pattern(hp, 4, families=["shared"])
    stack = ks.SharedStack(keras.layers.Dense(8, "relu"), pattern, private="bias")
    model = keras.Sequential([keras.Input((8,)), stack, keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    return model

class Seeing(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        print("devices:", num_devices(self.model))

x = np.ones((16, 8), "float32")
data = {"x": x, "y": np.zeros(16), "validation_data": (x, np.zeros(16))}
tuner = SharingSearch(
    build, "val_accuracy", max_trials=1, export=None, directory=sys.argv[1], **kwargs
)
tuner.search(**data, batch_size=8, verbose=2, callbacks=[Seeing()])
(record,) = tuner.results.records
assert record.status == "COMPLETED", record.message
"""


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_two_devices(backend, tmp_path):
    flags = "--xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env=environment(backend, flags),
        capture_output=True,
        text=True,
        check=False,  # its error tells more
    )
    assert done.returncode == 0, done.stderr
    assert "devices: 2" in done.stdout
