"""Names and order of a file's inputs and outputs."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers, ops
from random_data import randomize, values

import keras_share
from keras_share import export_tflite, quantize_model


def signature(path):
    interpreter = Interpreter(str(path))
    [ends] = interpreter.get_signature_list().values()
    return sorted(ends["inputs"]), sorted(ends["outputs"])


def model_of(names, **kwargs):
    inputs = [keras.Input((i + 2,), name=name) for i, name in enumerate(names)]
    outputs = [layers.Dense(i + 1, **kwargs)(x) for i, x in enumerate(inputs)]
    return randomize(keras.Model(inputs, outputs))


@pytest.mark.parametrize("names", [["in put", "größe", "x:0"], ["class", "a b", "a_b"]])
def test_inputs_may_have_any_name(names, tmp_path):
    path = tmp_path / "model.tflite"
    model = model_of(names)
    export_tflite(model, path)
    assert signature(path)[0] == sorted(names)
    arrays = [values(2, i + 2) for i in range(3)]
    outputs = keras_share.predict_tflite(path, dict(zip(names, arrays, strict=True)))
    for x, array in zip(model.output_names, model(arrays), strict=True):
        np.testing.assert_allclose(outputs[x], array, atol=1e-5)


def test_ends_are_in_the_order_of_the_model(tmp_path):
    path = tmp_path / "model.tflite"
    names = [f"x{i}" for i in range(12)]
    export_tflite(model_of(names[::-1]), path)
    interpreter = Interpreter(str(path))
    takes = [int(d["shape"][-1]) for d in interpreter.get_input_details()]
    gives = [int(d["shape"][-1]) for d in interpreter.get_output_details()]
    assert takes == list(range(2, 14))
    assert gives == list(range(1, 13))


def test_inputs_without_a_name_are_numbered(tmp_path):
    path = tmp_path / "model.tflite"
    export_tflite(model_of([None, None]), path)
    assert signature(path)[0] == ["input_0", "input_1"]
    export_tflite(keras.Sequential([keras.Input((3,)), layers.Dense(2)]), path)
    assert signature(path)[0] == ["input"]


def test_outputs_are_called_by_their_layers(tmp_path):
    path = tmp_path / "model.tflite"
    last = layers.Dense(2, name="logits")
    model = randomize(keras.Sequential([keras.Input((3,), name="x"), last]))
    x = values(8, 3)
    for exported in (
        model,
        keras_share.quantize_model(model, x),
        keras_share.quantize_model(model, x, quantization="dynamic"),
    ):
        export_tflite(exported, path)
        assert signature(path) == (["x"], ["logits"])


def test_one_layer_with_two_outputs(tmp_path):
    path = tmp_path / "model.tflite"
    inputs = keras.Input((3,), name="x")
    output = layers.Dense(2)(inputs)
    export_tflite(keras.Model(inputs, [output, output]), path)
    assert signature(path)[1] == ["output_0", "output_1"]


def test_outputs_as_a_dict_keep_their_keys(tmp_path):
    path = tmp_path / "model.tflite"
    inputs = keras.Input((3,), name="x")
    outputs = {"b": layers.Dense(2)(inputs), "a": layers.Dense(3)(inputs)}
    export_tflite(keras.Model(inputs, outputs), path)
    assert signature(path)[1] == ["a", "b"]


def test_only_new_objects_are_collected(tmp_path, monkeypatch):
    model = model_of(["x"])
    alive = []
    seen = lambda phase, info: alive.append(len(gc.get_objects()))  # noqa: E731
    gc.unfreeze()  # what `conftest.py` froze
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 0)
    gc.callbacks.append(seen)
    try:
        export_tflite(model, tmp_path / "model.tflite")
        everything = len(gc.get_objects())
        assert min(alive) < everything / 4
    finally:
        gc.callbacks.remove(seen)
        gc.freeze()
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 1)
    export_tflite(model, tmp_path / "model.tflite")
    assert len(gc.get_objects()) < everything / 4  # what is frozen stays so


class Doubling(layers.Layer):
    """Loops by itself."""

    def call(self, x):
        return keras.ops.fori_loop(
            0, 3, lambda i, y: y + keras.ops.cumsum(y, axis=-1), x
        )


class Traced(layers.Layer):
    times = 0

    def call(self, x):
        Traced.times += tf.is_symbolic_tensor(x)
        return x + 1.0

    def compute_output_shape(self, shape):
        return shape


def test_a_model_is_traced_once(tmp_path):
    model = keras.Sequential([keras.Input((4,)), Traced(), layers.Dense(2)])
    Traced.times = 0
    export_tflite(model, tmp_path / "model.tflite")
    assert Traced.times == 1


@pytest.mark.parametrize("target", ["auto", "micro"])
def test_ranges_of_a_recurrent_layer_are_found(target, tmp_path):
    model = keras.Sequential([keras.Input((6, 8)), layers.GRU(4), layers.Dense(3)])
    x, path = values(16, 6, 8), tmp_path / "model.tflite"
    report = export_tflite(
        model, path, target=target, quantization="int8", representative_dataset=x
    )
    assert not report.float_operators
    assert report.metadata["quantization_aware"] is False
    expected = np.asarray(model(x))
    np.testing.assert_allclose(
        keras_share.predict_tflite(path, x), expected, atol=0.05 * np.ptp(expected)
    )


def test_a_recurrent_layer_without_integers_is_left_in_floating_point(tmp_path):
    rnn = layers.GRU(4, recurrent_dropout=0.5, name="rnn")
    model = keras.Sequential([keras.Input((6, 8)), layers.Dense(8), rnn])
    x, path = values(16, 6, 8), tmp_path / "model.tflite"
    with pytest.warns(UserWarning, match=r"'rnn' .*recurrent_dropout"):
        export_tflite(model, path, quantization="int8", representative_dataset=x)
    np.testing.assert_allclose(keras_share.predict_tflite(path, x), model(x), atol=0.05)


def test_a_loop_of_ones_own_is_left_in_floating_point(tmp_path):
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(4), Doubling(name="doubling")]
    )
    x, path = values(16, 8), tmp_path / "model.tflite"
    with pytest.warns(UserWarning, match=r"'doubling\.fori_loop'"):
        export_tflite(model, path, quantization="int8", representative_dataset=x)


@pytest.mark.parametrize("quantization", ["int8", "int16"])
def test_biases_of_equal_numbers_have_the_scale_of_each_channel(quantization, tmp_path):
    x = inputs = keras.Input((6, 6, 4))
    for make in (layers.Conv2D, layers.Conv2DTranspose):
        x = make(5, 3, activation="relu", bias_initializer="ones")(x)
    x = layers.DepthwiseConv2D(3, bias_initializer="ones")(x)
    model = keras.Model(inputs, layers.Dense(3, bias_initializer="ones")(x))
    rng, path = np.random.default_rng(0), tmp_path / "model.tflite"
    for v in model.trainable_weights:
        if v.name.endswith("kernel"):  # channels of very different sizes
            v.assign(
                rng.normal(size=v.shape) * 10.0 ** rng.uniform(-2, 0, v.shape[-1:])
            )
    x = rng.normal(size=(32, 6, 6, 4)).astype("float32")
    quantized = quantize_model(model, x, quantization=quantization)
    report = export_tflite(quantized, path, representative_dataset=x)
    assert report.agreement[0].ratio > 45


DILATED = {
    "causal": lambda: layers.Conv1D(4, 2, dilation_rate=2, padding="causal"),
    "two axes": lambda: layers.Conv2D(4, 3, dilation_rate=(1, 2), padding="same"),
    "groups": lambda: layers.Conv2D(4, 3, dilation_rate=2, groups=2),
    "depthwise": lambda: layers.DepthwiseConv2D(3, dilation_rate=2, padding="same"),
    "of a sequence": lambda: layers.DepthwiseConv1D(3, dilation_rate=3),
}


@pytest.mark.parametrize("kind", DILATED)
def test_dilated_convolutions_of_one_tensor(kind, tmp_path):
    shape = (10, 10, 4) if len(DILATED[kind]().kernel_size) == 2 else (12, 4)
    x = keras.Input(shape)
    gate = ops.tanh(DILATED[kind]()(x)) * ops.sigmoid(DILATED[kind]()(x))
    model = randomize(keras.Model(x, gate))  # with biases
    quantized = quantize_model(model, values(8, *shape))
    for scheme, given in {"float32": model, "int8": quantized}.items():
        samples = None if given is model else values(8, *shape)
        report = export_tflite(
            given, tmp_path / "m.tflite", representative_dataset=samples
        )
        kinds = {cost.name for cost in report.costs}
        assert "SPACE_TO_BATCH_ND" not in kinds, scheme
        assert not (report.float_operators and given is quantized)


@pytest.mark.parametrize("names", [("größe", "a"), ("_m", "a"), ("m", "a b")])
def test_names_that_tensorflow_does_not_take(names, tmp_path):
    name, inner = names
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(2, name=inner)], name=name
    )
    with pytest.raises(ValueError, match=r"names must be .* Give it another name"):
        export_tflite(model, tmp_path / "model.tflite")
    later = layers.Dense(2, name="later")
    later.build((None, 4))
    assert later.kernel.path == "later/kernel"
