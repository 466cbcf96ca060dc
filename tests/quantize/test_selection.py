"""Which layers `quantize` and `skip` choose."""

import warnings

import keras
import pytest
from keras import layers, ops
from random_data import randomize, values

from keras_share import (
    SharedStack,
    Tied,
    Transposed,
    export_tflite,
    predict_tflite,
    quantize_model,
    share,
)
from keras_share.blocks import TransformerBlock
from keras_share.layers.sublayers import sublayers
from keras_share.quantize import FakeQuantize, QuantizeWeights, quantization_report


def mlp():
    inputs = keras.Input((8,))
    x = layers.Dense(7, "relu", name="first")(inputs)
    x = layers.Dense(6, "relu", name="second")(x)
    return randomize(keras.Model(inputs, layers.Dense(5, name="third")(x)))


def stacked():
    stack = SharedStack(layers.Dense(8, "relu", name="block"), "ABA", name="stack")
    inputs = keras.Input((8,))
    x = layers.Dense(8, name="before")(inputs)
    return randomize(keras.Model(inputs, layers.Dense(3, name="after")(stack(x))))


def kernels(quantized):
    """The layers whose kernels are quantized, by the number of their outputs."""
    found = (x for x in sublayers(quantized) if isinstance(x, QuantizeWeights))
    return sorted(wrapper.layer.units for wrapper in found)


def names(quantized):
    found = (x for x in sublayers(quantized) if isinstance(x, QuantizeWeights))
    return sorted(wrapper.layer.name for wrapper in found)


def without_warnings(model, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return quantize_model(model, *args, **kwargs)


def test_all_by_default():
    assert kernels(without_warnings(mlp())) == [5, 6, 7]


@pytest.mark.parametrize(
    "chosen, expected",
    [
        (["first"], [7]),
        (["first", "third"], [5, 7]),
        ("second", [6]),
        ([], []),
    ],
    ids=["one", "two", "a name", "none"],
)
def test_quantize_by_name(chosen, expected):
    assert kernels(without_warnings(mlp(), quantize=chosen)) == expected


def test_skip_by_name():
    assert kernels(without_warnings(mlp(), skip=["first"])) == [5, 6]
    assert kernels(without_warnings(mlp(), skip="first")) == [5, 6]
    assert kernels(without_warnings(mlp(), skip=[])) == [5, 6, 7]


def test_by_layer():
    model = mlp()
    second = model.get_layer("second")
    assert kernels(without_warnings(model, quantize=[second])) == [6]
    assert kernels(without_warnings(model, quantize=second)) == [6]
    assert kernels(without_warnings(model, skip=[second, "third"])) == [7]


def test_skip_counts_more_than_quantize():
    chosen = ["first", "second"]
    assert kernels(without_warnings(mlp(), quantize=chosen, skip=["first"])) == [6]


def test_a_stack_is_all_that_is_in_it():
    model = stacked()
    stack = model.get_layer("stack")
    for choice in ("stack", stack):
        assert len(kernels(without_warnings(model, quantize=[choice]))) == 2
        skipped = without_warnings(model, skip=[choice])
        assert names(skipped) == ["after", "before"]


def test_a_block_of_a_stack_is_chosen_at_all_its_sites():
    model = stacked()
    first = model.get_layer("stack").blocks[0]
    quantized = without_warnings(model, skip=[first])
    assert len(kernels(quantized)) == 3  # before, the other block, after
    quantized = without_warnings(model, quantize=[first])
    assert len(kernels(quantized)) == 1


def test_a_part_of_a_block():
    inputs = keras.Input((4, 8))
    stack = SharedStack(TransformerBlock(2, 12, name="block"), "AA", name="stack")
    model = randomize(keras.Model(inputs, stack(inputs)))
    attention = stack.blocks[0].attention
    for skip in ([attention], ["attention"]):
        assert sorted(kernels_of(without_warnings(model, skip=skip))) == ["Dense"] * 2
    quantized = without_warnings(model, quantize=[attention])
    assert kernels_of(quantized) == ["EinsumDense"] * 4


def kernels_of(quantized):
    found = (x for x in sublayers(quantized) if isinstance(x, QuantizeWeights))
    return [type(wrapper.layer).__name__ for wrapper in found]


def test_a_nested_model():
    inputs = keras.Input((8,))
    part = keras.Sequential([layers.Dense(6), layers.Dense(8)], name="part")
    model = keras.Model(inputs, layers.Dense(3)(part(inputs)))
    assert kernels(without_warnings(model, skip=["part"])) == [3]
    assert kernels(without_warnings(model, quantize=[part])) == [6, 8]


def test_what_share_made():
    inputs = x = keras.Input((8,))
    for i in range(4):
        x = layers.Dense(8, "relu", name=f"dense_{i}")(x)
    shared = share(keras.Model(inputs, layers.Dense(3, name="head")(x)), "AABB")
    assert kernels(without_warnings(shared, skip=["head"])) == [8, 8]


class Unknown(layers.Layer):
    """A layer that no rule knows."""

    def build(self, shape):
        self.offset = self.add_weight(shape=shape[-1:], name="offset")

    def call(self, x):
        assert not isinstance(x, keras.KerasTensor), "numbers are needed"
        return x + self.offset

    def compute_output_shape(self, shape):
        return shape


def odd_model():
    inputs = keras.Input((8,))
    x = layers.Dense(8, activation=ops.sparsemax, name="dense")(inputs)
    return keras.Model(inputs, Unknown(name="own")(x))


def test_what_is_skipped_is_not_warned_of():
    with pytest.warns(UserWarning, match=r"'dense\.sparsemax'.*'own'"):
        quantize_model(odd_model())
    with pytest.warns(UserWarning) as caught:
        quantize_model(odd_model(), skip=["own"])
    assert "'own'" not in str(caught[0].message)
    without_warnings(odd_model(), skip=["own", "dense"])


def test_what_is_skipped_is_not_refused():
    with pytest.raises(ValueError, match=r"strict=True.*'dense\.sparsemax'.*'own'"):
        quantize_model(odd_model(), strict=True)
    with pytest.raises(ValueError, match=r"strict=True.*'own'"):
        quantize_model(odd_model(), strict=True, skip=["dense"])
    assert (
        kernels(quantize_model(odd_model(), strict=True, skip=["own", "dense"])) == []
    )


def test_what_is_not_chosen_is_not_refused():
    quantize_model(odd_model(), strict=True, quantize=[])


@pytest.mark.parametrize("argument", ["quantize", "skip"])
@pytest.mark.parametrize(
    "choice",
    ["fourth", layers.Dense(2, name="stranger"), 3],
    ids=["name", "layer", "3"],
)
def test_unknown_layers(argument, choice):
    match = rf"`{argument}` must list layers of the model, names .* Received"
    with pytest.raises(ValueError, match=match):
        quantize_model(mlp(), **{argument: ["first", choice]})


def of_operations():
    inputs = keras.Input((8,))
    angle = inputs * 200.0
    waves = ops.concatenate([ops.sin(angle), ops.cos(angle)], axis=-1)
    return randomize(keras.Model(inputs, layers.Dense(4, name="last")(waves)))


def test_operations_by_their_names_in_the_report(tmp_path):
    model, x, path = of_operations(), abs(values(64, 8)), tmp_path / "m.tflite"
    # Keras numbers them through the whole program.
    sin, cos, joined, _ = [row.name for row in quantization_report(model).rows]
    assert sin.endswith(".look_up")
    report = quantization_report(model, skip=[sin, cos])
    multiply = report.rows[0].name  # by itself, as no table has it
    quantized = without_warnings(model, x, skip=[multiply, sin, cos])
    report = export_tflite(quantized, path, representative_dataset=x)
    assert report.float_operators == {"COS": 1, "MUL": 1, "SIN": 1}
    difference = predict_tflite(path, x) - model(x)
    assert abs(difference).numpy().max() < 0.1  # all is noise where none is left out
    report = quantization_report(model, quantize=[sin, joined, "last"])
    assert {row.kind for row in report.float_layers} == {"Multiply", "Cos"}


def test_a_step_of_a_layer_by_its_name():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(3, "softmax", name="d")])
    for name, left in (("d", {"d", "d.softmax"}), ("d.softmax", {"d.softmax"})):
        report = quantization_report(model, skip=name)
        assert {row.name for row in report.float_layers} == left, name


def test_a_step_that_is_chosen_and_left_out():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(3, "softmax", name="d")])
    report = quantization_report(model, quantize=["d.softmax"], skip=["d.softmax"])
    assert {row.name for row in report.float_layers} == {"d", "d.softmax"}


def test_nothing_chosen_computes_what_the_model_does():
    model, x = mlp(), values(4, 8)
    quantized = without_warnings(model, quantize=[])
    assert not [y for y in sublayers(quantized) if isinstance(y, FakeQuantize)]
    assert abs(quantized(x) - model(x)).numpy().max() < 1e-6


def test_file_with_a_skipped_layer(tmp_path):
    model, x = mlp(), values(16, 8)
    quantized = quantize_model(model, x, skip=["third"])
    report = export_tflite(quantized, tmp_path / "m.tflite", representative_dataset=x)
    kinds = {b.nbytes: b.dtype for b in report.buffers}
    assert kinds[8 * 7] == kinds[7 * 6] == "int8"
    assert kinds[4 * 6 * 5] == "float32"
    assert report.float_operators == {"FULLY_CONNECTED": 1}


@pytest.mark.parametrize("scheme", ["int8", "dynamic"])
def test_uses_of_a_kernel_are_left_out_together(scheme):
    ids = keras.Input((5,), dtype="int32")
    table, dense = layers.Embedding(30, 8, name="emb"), layers.Dense(8, name="dense")
    x = Tied(dense, name="again")(dense(table(ids)))
    model = randomize(keras.Model(ids, Transposed(table, name="head")(x)))
    for skip in (["emb"], ["head"], ["again"]):
        with pytest.raises(ValueError, match="All uses of a shared kernel must be"):
            quantize_model(model, quantization=scheme, skip=skip)
        with pytest.raises(ValueError, match=f"{skip[0]}.*' left out by `skip`"):
            quantization_report(model, quantization=scheme, skip=skip)
    for skip in (["emb", "head"], ["dense"], ["again", "dense"]):
        quantize_model(model, quantization=scheme, skip=skip)


def test_what_does_nothing_at_inference_is_no_part_in_floating_point():
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2)(layers.Dropout(0.5, name="drop")(x)))
    assert not quantization_report(model, skip=["drop"]).float_layers
