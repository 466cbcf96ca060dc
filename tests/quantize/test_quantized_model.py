"""What a quantized model still knows of the one that it was made of."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from random_data import randomize, values

import keras_share
from keras_share import SharedStack, audit, export_tflite, quantize_model
from keras_share.blocks import TransformerBlock
from keras_share.quantize.quantized_model import patterns_of

PATTERNS = {"dense": "ABA", "parts": {"attention": "AA", "feedforward": "AB"}}


def model_of():
    inputs = keras.Input((3, 8))
    x = SharedStack(layers.Dense(8, "relu"), "ABA", name="dense")(inputs)
    block = TransformerBlock(2, 8)
    x = SharedStack(block, PATTERNS["parts"], name="parts")(x)
    return randomize(keras.Model(inputs, x, name="two_stacks"))


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_saved_models_are_quantized_models_again(ending, tmp_path):
    stack = SharedStack(layers.Dense(8, "relu"), "ABA")
    model = keras.Sequential([keras.Input((8,)), stack])
    quantized = quantize_model(model, values(8, 8))
    quantized.save(tmp_path / f"model.{ending}")
    loaded = keras.models.load_model(tmp_path / f"model.{ending}")
    np.testing.assert_array_equal(loaded(values(4, 8)), quantized(values(4, 8)))


def test_name_and_patterns_are_in_the_file_of_a_saved_model(tmp_path):
    model, x = model_of(), values(4, 3, 8)
    assert patterns_of(model) == PATTERNS
    quantized = quantize_model(model, x)
    quantized.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    export_tflite(loaded, tmp_path / "model.tflite")
    metadata = audit(tmp_path / "model.tflite").metadata
    assert metadata["name"] == "two_stacks"
    assert metadata["patterns"] == PATTERNS
    assert (metadata["quantization"], metadata["quantization_aware"]) == ("int8", True)


def test_patterns_of_a_quantized_model_inside_another():
    inputs = keras.Input((8,))
    stack = SharedStack(layers.Dense(8, "relu"), "AAB", name="inner")
    quantized = quantize_model(keras.Model(inputs, stack(inputs)), values(4, 8))
    outer = keras.Sequential([keras.Input((8,)), quantized, layers.Softmax()])
    assert patterns_of(outer) == {"inner": "AAB"}


def ends_of(kind):
    x = keras.Input((8,), name="x")
    trunk = layers.Dense(8, activation="relu", name="trunk")(x)
    cls = layers.Dense(3, activation="softmax", name="cls")(trunk)
    box = layers.Dense(2, name="box")(trunk)
    outputs = {
        "list": [cls, box],
        "twice": [cls, cls, box],
        "dict": {"z": {"u": cls}, "a": (box,)},
        "input": [x, layers.ReLU(name="soft")(box), box + 1.0],
    }[kind]
    return randomize(keras.Model(x, outputs, name="net"))


@pytest.mark.parametrize("quantization", ["int8", "dynamic"])
@pytest.mark.parametrize(
    "kind, names, file_names",
    [
        ("list", ["cls", "box"], ["box", "cls"]),
        ("twice", ["cls", "cls", "box"], ["box", "output_0", "output_1"]),
        ("dict", ["box", "cls"], ["a.0", "z.u"]),
        ("input", ["x", "soft", "add"], ["add", "soft", "x"]),
    ],
)
def test_outputs_keep_their_names(kind, names, file_names, quantization, tmp_path):
    model = ends_of(kind)
    quantized = quantize_model(model, values(8, 8), quantization=quantization)
    quantized.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    export_tflite(loaded, tmp_path / "model.tflite")
    [ends] = Interpreter(str(tmp_path / "model.tflite")).get_signature_list().values()
    assert sorted(ends["outputs"]) == file_names
    assert quantized.output_names == loaded.output_names == names
    assert quantized.name == loaded.name == "net"
    keras.tree.assert_same_structure(quantized.output, model.output)


@pytest.mark.parametrize("quantization", ["int8", "int16", "dynamic"])
def test_layers_keep_their_names(quantization):
    model = ends_of("list")
    quantized = quantize_model(model, values(8, 8), quantization=quantization)
    for name in ("trunk", "cls", "box"):
        kernel = model.get_layer(name).kernel
        np.testing.assert_array_equal(quantized.get_layer(name).layer.kernel, kernel)


def test_losses_and_targets_by_name():
    x = values(8, 8)
    y = {"cls": np.zeros(8), "box": np.zeros((8, 2))}
    loss = {"cls": "sparse_categorical_crossentropy", "box": "mse"}
    histories = []
    for model in (ends_of("list"), quantize_model(ends_of("list"), x)):
        model.compile("sgd", loss, metrics={"box": "mae"}, run_eagerly=True)
        histories.append(model.fit(x, y, verbose=0).history)
    assert histories[0].keys() == histories[1].keys() >= {"cls_loss", "box_mae"}
    clone = keras.models.clone_model(model)
    assert clone.output_names == ["cls", "box"]


class OwnLoss(keras.Model):
    def compute_loss(self, *args, **kwargs):
        return 0.0 * super().compute_loss(*args, **kwargs)


def test_a_class_with_methods_of_its_own_is_not_dropped_silently(tmp_path):
    x = keras.Input((8,))
    model = OwnLoss(x, layers.Dense(8)(layers.Dense(8)(x)))
    with pytest.warns(UserWarning, match=r"without the `compute_loss` of OwnLoss"):
        quantized = quantize_model(model, values(8, 8))
    again = OwnLoss(quantized.input, quantized.output)
    again.compile("sgd", "mse", run_eagerly=True)
    assert again.fit(values(8, 8), values(8, 8), verbose=0).history["loss"] == [0.0]
    assert export_tflite(again, tmp_path / "model.tflite").untied == ()
    assert type(keras_share.share(model, "shared")) is OwnLoss


@pytest.fixture
def half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def test_training_goes_on_under_a_mixed_policy(half_precision, tmp_path):
    x = values(8, 8)
    plain = keras.Sequential([keras.Input((8,)), layers.Dense(8)])
    model = quantize_model(plain, x)
    model.compile("adam", "mse", jit_compile=False)
    model.fit(x, x, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    pairs = zip(model.optimizer.variables, loaded.optimizer.variables, strict=True)
    for before, after in pairs:
        np.testing.assert_array_equal(before, after)
    assert int(loaded.optimizer.iterations) == 3


class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def test_interrupted_training_goes_on_under_a_mixed_policy(half_precision, tmp_path):
    x, weights = values(8, 8), []
    plain = keras.Sequential([keras.Input((8,)), layers.Dense(8)])
    for stops in ([Stop()], []):
        model = quantize_model(plain, x)
        model.compile("adam", "mse", run_eagerly=True)
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        try:
            model.fit(x, x, epochs=3, verbose=0, callbacks=[backup, *stops])
        except KeyboardInterrupt:
            assert int(model.optimizer.iterations) == 2
        weights.append(int(model.optimizer.iterations))
    assert weights == [2, 3]


def test_inputs_may_have_names_that_no_layer_may(tmp_path):
    inputs = [keras.Input((4,), name=name) for name in ("größe (cm)", "größe [cm]")]
    outputs = layers.Dense(2)(layers.Subtract()(inputs))
    model = randomize(keras.Model(inputs, {"in kg": outputs}))
    x = [values(4, 4), values(4, 4)]
    quantized = quantize_model(model, x)
    quantized.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    export_tflite(loaded, tmp_path / "model.tflite", representative_dataset=x)
    [signature] = (
        Interpreter(str(tmp_path / "model.tflite")).get_signature_list().values()
    )
    assert sorted(signature["inputs"]) == sorted(x.name for x in inputs)
    assert signature["outputs"] == ["in kg"]
