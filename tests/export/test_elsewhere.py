"""Models of other backends, exported by TensorFlow in a process of its own."""

import os
import subprocess
import sys

import numpy as np
import pytest
from other_backends import BACKENDS, environment

from keras_share import audit, predict_tflite

CODE = """
import keras, numpy as np
from keras_share import SharedStack, export_tflite, quantize_model

keras.utils.set_random_seed(0)
stack = SharedStack(keras.layers.Dense(8, activation="relu"), "AAA")
model = keras.Sequential([keras.Input((8,)), stack])
x = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")
report = export_tflite(
    model, "model.tflite", quantization="int8", representative_dataset=x
)
assert report.agreement and not report.untied
np.savez("outputs.npz", x=x, y=keras.ops.convert_to_numpy(model(x)))
try:
    quantize_model(model)
except RuntimeError as error:
    print(error)
try:
    lambdas = keras.Sequential([keras.Input((8,)), keras.layers.Lambda(lambda x: x)])
    export_tflite(lambdas, "lambda.tflite")
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_of_another_backend(backend, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(backend),
    )
    assert done.returncode == 0, done.stderr
    assert "quantize_model needs Keras on the TensorFlow backend" in done.stdout
    assert f"backend '{backend}'" in done.stdout
    assert "lambda" in done.stdout.lower()
    assert sorted(os.listdir(tmp_path)) == ["model.tflite", "outputs.npz"]
    outputs = np.load(tmp_path / "outputs.npz")
    path = tmp_path / "model.tflite"
    [kernel] = [b for b in audit(path).buffers if b.shape == (8, 8)]
    assert (kernel.dtype, kernel.uses) == ("int8", 3)
    y = predict_tflite(path, outputs["x"])
    np.testing.assert_allclose(y, outputs["y"], atol=0.05 * np.abs(outputs["y"]).max())
