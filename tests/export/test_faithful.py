"""A file that is further from its model than its quantization explains is refused."""

import keras
import pytest
from keras import layers
from random_data import randomize, values

from keras_share import export_tflite
from keras_share.export import faithful
from keras_share.export.ends import Ends
from keras_share.export.faithful import check_outputs
from keras_share.quantize.model import quantize_model
from keras_share.quantize.quantization import TRAINED, Quantization

ENDS = Ends(["x"], ["y"], ("float32", "float32"))
ALLOWED = {
    (Quantization.FLOAT32, False): 1e-4,
    (Quantization.FLOAT16, False): 0.02,
    (Quantization.DYNAMIC, False): 0.25,
    (Quantization.INT8, False): 0.5,
    **{(quantization, True): 0.1 for quantization in TRAINED},
}


def model_of():
    inputs = keras.Input((4,), name="x")
    return randomize(keras.Model(inputs, layers.Dense(3, name="y")(inputs)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("faithful") / "model.tflite"
    model = model_of()
    export_tflite(model, path)
    return model, path.read_bytes()


def off_by(share, model, dtype="float32"):
    """A model from whose largest output that of the given one differs by a share."""
    scale = layers.Rescaling(1 / (1 - share), dtype=dtype)
    return keras.Model(model.inputs, scale(model.outputs[0]))


def check(model, data, quantization, aware):
    rows = [[row[None]] for row in values(3, 4)]
    check_outputs(model, data, rows, quantization, aware, ENDS)


@pytest.mark.parametrize("quantization, aware", ALLOWED)
def test_how_far_a_file_may_be_off(quantization, aware, exported):
    model, data = exported
    allowed = ALLOWED[quantization, aware]
    check(off_by(0.95 * allowed, model), data, quantization, aware)
    message = rf"'y' differs by .* the {allowed} allowed for {quantization}; nothing"
    with pytest.raises(ValueError, match=message):
        check(off_by(1.05 * allowed, model), data, quantization, aware)


def test_half_precision_is_as_far_off_as_its_own_rounding(exported):
    model, data = exported
    check(off_by(0.018, model, "mixed_float16"), data, Quantization.FLOAT32, False)
    with pytest.raises(ValueError, match=r"the 0\.02 allowed for float32"):
        check(off_by(0.022, model, "mixed_float16"), data, Quantization.FLOAT32, False)


@pytest.mark.parametrize("kind", ["float32", "int8", "aware"])
def test_each_kind_of_file_is_held_to_its_own_bound(kind, tmp_path, monkeypatch):
    model, x, path = model_of(), values(8, 4), tmp_path / "model.tflite"
    path.write_bytes(b"old")
    quantization = None if kind == "aware" else kind
    allowed = {"float32": 1e-4, "int8": 0.5, "aware": 0.1}[kind]
    if kind == "aware":
        model = quantize_model(model, x)
    predict = faithful.predict_tflite
    monkeypatch.setattr(
        faithful, "predict_tflite", lambda *args: (1 + 1.5 * allowed) * predict(*args)
    )
    with pytest.raises(ValueError, match=f"more than the {allowed} .*nothing was"):
        export_tflite(model, path, quantization=quantization, representative_dataset=x)
    assert path.read_bytes() == b"old"
