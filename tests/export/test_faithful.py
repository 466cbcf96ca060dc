"""A file that is further from its model than its quantization explains is refused."""

import keras
import numpy as np
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
# The largest share of the signal that may be noise.
ALLOWED = {
    (Quantization.FLOAT32, False): 1e-4,
    (Quantization.FLOAT16, False): 0.005,
    (Quantization.DYNAMIC, False): 0.1,
    (Quantization.INT8, False): 0.32,
    (Quantization.INT8, True): 0.1,
    (Quantization.INT16, True): 0.032,
    (Quantization.INT4, True): 0.1,
    (Quantization.DYNAMIC, True): 0.032,
    (Quantization.DYNAMIC_INT4, True): 0.032,
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
    """A model whose outputs are off by a share of them."""
    scale = layers.Rescaling(1 / (1 - share), dtype=dtype)
    return keras.Model(model.inputs, scale(model.outputs[0]))


def check(model, data, quantization, aware):
    rows = [[row[None]] for row in values(3, 4)]
    return check_outputs(model, data, rows, quantization, aware, ENDS)


def test_every_way_of_quantizing_has_a_bound():
    assert {q for q, aware in ALLOWED if aware} == set(TRAINED)


@pytest.mark.parametrize("quantization, aware", ALLOWED)
def test_how_far_a_file_may_be_off(quantization, aware, exported):
    model, data = exported
    allowed = ALLOWED[quantization, aware]
    check(off_by(0.9 * allowed, model), data, quantization, aware)
    message = rf"'y' differs: .* dB that {quantization} asks for; nothing"
    with pytest.raises(ValueError, match=message):
        check(off_by(1.1 * allowed, model), data, quantization, aware)


@pytest.mark.parametrize("policy, off", [("float16", 0.004), ("bfloat16", 0.03)])
def test_half_precision_is_as_far_off_as_its_own_rounding(policy, off, exported):
    model, data = exported
    check(off_by(off, model, f"mixed_{policy}"), data, Quantization.FLOAT32, False)
    with pytest.raises(ValueError, match=r"the (46|28) dB that float32"):
        check(
            off_by(2.5 * off, model, f"mixed_{policy}"),
            *(data, Quantization.FLOAT32, False),
        )


def test_a_sample_that_is_wrong_is_found_wherever_it_stands(exported):
    model, data = exported
    rows = [[row[None]] for row in values(70, 4)]
    rows[65][0][:] = np.nan  # which the file computes, too
    [found] = check_outputs(model, data, rows, Quantization.FLOAT32, False, ENDS)
    assert found.samples == 70 and found.ratio > 100 and found.steps is None
    wrong = keras.Model(model.inputs, keras.ops.nan_to_num(model.outputs[0]))
    with pytest.raises(ValueError, match=r"'y' differs: -200\.0 dB"):
        check_outputs(wrong, data, rows, Quantization.FLOAT32, False, ENDS)


@pytest.mark.parametrize("kind", ["float32", "int8", "aware"])
def test_each_kind_of_file_is_held_to_its_own_bound(kind, tmp_path, monkeypatch):
    model, x, path = model_of(), values(8, 4), tmp_path / "model.tflite"
    path.write_bytes(b"old")
    quantization = None if kind == "aware" else kind
    allowed = {"float32": 1e-4, "int8": 0.32, "aware": 0.1}[kind]
    if kind == "aware":
        model = quantize_model(model, x)
    run = faithful.run_apart

    def wrong(*arguments, **settings):
        rows = run(*arguments, **settings)
        return [{k: v * (1 + 1.5 * allowed) for k, v in row.items()} for row in rows]

    monkeypatch.setattr(faithful, "run_apart", wrong)
    with pytest.raises(ValueError, match="nothing was written"):
        export_tflite(model, path, quantization=quantization, representative_dataset=x)
    assert path.read_bytes() == b"old"


def test_the_report_says_how_far_off_the_file_is(tmp_path):
    model, x = model_of(), values(40, 4)
    quantized = quantize_model(model, x)
    report = export_tflite(quantized, tmp_path / "m.tflite", representative_dataset=x)
    [found] = report.agreement
    assert found.name == "y" and found.samples == 40
    assert found.ratio > 35 and found.steps <= 1.01
    assert str(found) in str(report)
    assert report.to_dict()["agreement"][0]["steps"] == found.steps


@pytest.fixture
def kernels(monkeypatch):
    """Lets LiteRT's kernels return other numbers, by what those are multiplied with."""
    factors, run = {}, faithful.run_apart

    def wrong(job, mode, *arguments, **settings):
        rows = run(job, mode, *arguments, **settings)
        return [{k: v * factors.get(mode, 1) for k, v in row.items()} for row in rows]

    monkeypatch.setattr(faithful, "run_apart", wrong)
    return factors


def test_what_rounding_drowns_is_exported_with_a_warning(exported, kernels):
    """Where LiteRT's kernels are as far from each other as from the model."""
    kernels.update(interpreter=1.5, reference=0.5)
    with pytest.warns(UserWarning, match=r"Rounding drowns the output 'y': 6\.0 dB"):
        check(*exported, Quantization.INT8, True)


@pytest.mark.parametrize("reference", [1.5, 1.45, 1.0])
def test_a_file_that_is_wrong_is_refused(reference, exported, kernels):
    """As its kernels agree, or one kind of them computes what the model does."""
    kernels.update(interpreter=1.5, reference=reference)
    with pytest.raises(ValueError, match=r"'y' differs: 6\.0 dB"):
        check(*exported, Quantization.INT8, True)


def test_a_model_that_loses_by_rounding_is_told(exported, kernels):
    """Of a float model the file must compute what its quantized form does."""
    model, data = exported
    rows = [[row[None]] for row in values(3, 4)]
    way = Quantization.INT8, False, ENDS
    with pytest.warns(UserWarning, match=r"'y': 6\.0 dB.*the quantized model is so"):
        check_outputs(off_by(0.5, model), data, rows, *way, model)
    kernels.update(interpreter=1.2, reference=1.2)
    with pytest.raises(ValueError, match=r"'y' differs: 14\.0 dB"):
        check_outputs(off_by(0.5, model), data, rows, *way, model)
