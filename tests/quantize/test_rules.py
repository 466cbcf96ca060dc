"""Rules of one's own, and the registry."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values

import keras_share
from keras_share import SharedStack, export_tflite, predict_tflite, quantize_model
from keras_share.quantize import QuantizeRule, register_rule, rules


@pytest.fixture(autouse=True)
def restored_registry(monkeypatch):
    """Forgets the rules that a test registers."""
    for registry in ("_LAYERS", "_OPERATIONS"):
        known = getattr(rules, registry)
        monkeypatch.setattr(rules, registry, dict(known))


def needs_numbers(x):
    """What symbolic tensors have none of, so that a layer stays closed."""
    assert not isinstance(x, keras.KerasTensor), "numbers are needed"


class Gain(layers.Layer):
    """A scale for each channel, and a tanh; closed."""

    def build(self, shape):
        self.gain = self.add_weight(shape=shape[-1:], initializer="ones")

    def call(self, x):
        needs_numbers(x)
        return ops.tanh(x * self.gain)

    def compute_output_shape(self, shape):
        return shape


class LouderGain(Gain):
    """Computes something else."""

    def call(self, x):
        return super().call(x) * 2.0


class NamedGain(Gain):
    """Computes the same."""


class Projection(layers.Layer):
    """A kernel of its own, computed by one operator."""

    def build(self, shape):
        self.matrix = self.add_weight(shape=(shape[-1], 4))

    def call(self, x):
        return ops.matmul(x, self.matrix)


def gain_rule():
    return QuantizeRule(write=lambda use, x: ops.tanh(use.affine(x, use.op.gain)))


def left(model):
    return keras_share.quantize.quantization_report(model).float_layers


def sequential(*parts, shape=(4, 8)):
    return randomize(keras.Sequential([keras.Input(shape), *parts]))


def is_in_steps(model, x, path, steps=2):
    """Asserts that a model becomes a file without floats, near what it simulates."""
    quantized = quantize_model(model, x, strict=True)
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators
    simulated = ops.convert_to_numpy(quantized(x, training=False))
    step = (simulated.max() - simulated.min()) / 255
    assert np.abs(predict_tflite(path, x) - simulated).max() <= steps * step
    return report


def test_a_rule_for_an_own_layer(tmp_path):
    model = sequential(layers.Dense(8), Gain(), layers.Dense(3))
    assert [row.kind for row in left(model)] == ["Gain"]
    with pytest.raises(
        ValueError, match=r"`register_rule`.*\(Gain\): it can't be opened: numbers"
    ):
        quantize_model(model, strict=True)
    register_rule(Gain, gain_rule())
    assert not left(model)
    x = values(16, 4, 8)
    is_in_steps(model, x, tmp_path / "model.tflite")
    quantized = quantize_model(model, x)
    expected, ours = model(x), quantized(x)
    largest = float(ops.max(ops.abs(expected)))
    np.testing.assert_allclose(ours, expected, atol=0.05 * largest)


def test_a_rule_that_names_a_kernel(tmp_path):
    register_rule(Projection, QuantizeRule(weights=("matrix",)))
    report = is_in_steps(
        sequential(Projection()), values(16, 4, 8), tmp_path / "model.tflite"
    )
    assert [b.dtype for b in report.buffers if b.nbytes == 8 * 4] == ["int8"]


def test_an_own_layer_stays_tied_and_trains(tmp_path):
    register_rule(Gain, gain_rule())
    block = keras.Sequential([layers.Dense(8), Gain(name="own")])
    x = values(16, 4, 8)
    model = sequential(SharedStack(block, "AAB", private="own"))
    quantized = quantize_model(model, x)
    kernels = [v for v in quantized.trainable_variables if v.name == "kernel"]
    assert len(kernels) == 2
    before = [v.numpy() for v in quantized.trainable_variables]
    quantized.compile("sgd", "mse", jit_compile=False)
    quantized.fit(x, values(16, 4, 8, seed=1), verbose=0)
    for old, new in zip(before, quantized.trainable_variables, strict=True):
        assert np.abs(old - new.numpy()).max() > 0, new.path
    report = export_tflite(quantized, tmp_path / "m.tflite", representative_dataset=x)
    assert not report.float_operators
    assert sorted(b.uses for b in report.buffers if b.nbytes == 64) == [1, 2]


def test_a_rule_for_an_operation(tmp_path):
    x = keras.Input((4, 8))
    model = randomize(keras.Model(x, ops.diff(layers.Dense(8)(x)) * 0.5 + 1.0))
    assert [row.kind for row in left(model)] == ["Diff"]
    register_rule("diff", QuantizeRule(write=lambda use, x: x[..., 1:] - x[..., :-1]))
    assert not left(model)


def test_the_last_rule_counts():
    model = sequential(Gain())
    register_rule(Gain, gain_rule())
    assert not left(model)
    register_rule(Gain, QuantizeRule(refuse=lambda op: "it is too loud"))
    assert [row.reason for row in left(model)] == ["it is too loud"]


def test_a_rule_for_a_layer_of_keras_can_be_replaced():
    register_rule(layers.Dense, QuantizeRule(refuse=lambda op: "of its size"))
    assert [row.reason for row in left(sequential(layers.Dense(2)))] == ["of its size"]


def test_refuses_by_what_the_layer_is():
    register_rule(
        Gain,
        QuantizeRule(
            write=gain_rule().write,
            refuse=lambda op: "it is named so" if op.name == "loud" else None,
        ),
    )
    rows = left(sequential(Gain(name="quiet"), Gain(name="loud")))
    assert [(row.name, row.reason) for row in rows] == [("loud", "it is named so")]


def test_subclasses_are_covered_unless_they_override_call():
    register_rule(Gain, gain_rule())
    assert not left(sequential(NamedGain()))
    assert [row.kind for row in left(sequential(LouderGain()))] == ["LouderGain"]
    register_rule(LouderGain, gain_rule())
    assert not left(sequential(LouderGain()))


def test_subclasses_of_keras_layers():
    class Plain(layers.Dense):
        pass

    class Odd(layers.Dense):
        def call(self, inputs):
            needs_numbers(inputs)
            return super().call(inputs) + ops.sum(inputs)

    assert not left(sequential(Plain(3)))
    assert [row.kind for row in left(sequential(Odd(3)))] == ["Odd"]


@pytest.mark.parametrize(
    "kind", [3, None, int, ops.tanh], ids=["number", "none", "class", "function"]
)
def test_kind_must_be_a_class_of_layers_or_a_name(kind):
    with pytest.raises(TypeError, match="`kind` must be a class of layers or the name"):
        register_rule(kind, QuantizeRule())


@pytest.mark.parametrize("output", ["outside", None, 3])
def test_output_must_be_known(output):
    with pytest.raises(ValueError, match=rf"must be 'own'.*output={output!r}"):
        QuantizeRule(output=output)


def test_lists_the_rules():
    listed = rules.rules()
    assert {"Dense", "LayerNormalization", "ops.softmax", "ops.add"} <= set(listed)
    assert "Gain" not in listed
    rule = gain_rule()
    register_rule(Gain, rule)
    register_rule("sign", rule)
    assert rules.rules()["Gain"] is rule
    assert rules.rules()["ops.sign"] is rule
    listed.clear()
    assert rules.rules()


def test_every_rule_tells_how():
    assert [name for name, rule in rules.rules().items() if not rule.how] == []


def test_every_operation_exists():
    names = [name[4:] for name in rules.rules() if name.startswith("ops.")]
    known = {*dir(ops), *dir(ops.image)}
    # `keras.activations.relu` records an operation that has no name in `keras.ops`, and
    # older versions of Keras lack some.
    newer = {"depth_to_space", "space_to_depth"}
    newer |= {"adaptive_average_pool", "adaptive_max_pool"}
    assert [name for name in names if name not in known | newer] == ["re_lu"]


def misspelled(use, x):
    return ops.tanh(use.afine(x, use.op.gain))


def miscalled(use, x):
    return ops.tanh(use.affine(x, slope=use.op.gain))


def misshaped(use, x):
    return ops.tanh(use.affine(x, use.op.gain) + x[:, :, :3])


@pytest.mark.parametrize(
    ("write", "kind"),
    [(misspelled, AttributeError), (miscalled, TypeError), (misshaped, ValueError)],
)
def test_a_bug_in_a_rule_is_an_error_and_no_float_layer(write, kind):
    register_rule(Gain, QuantizeRule(write=write))
    with pytest.raises(kind) as caught:
        quantize_model(sequential(Gain(name="gain")))
    assert write.__name__ in [entry.name for entry in caught.traceback]
    if hasattr(caught.value, "add_note"):
        assert f"{write.__name__}', which writes the layer 'gain'" in str(
            caught.value.__notes__
        )


def test_a_rule_that_takes_a_weight_as_a_value_is_an_error():
    register_rule(Gain, QuantizeRule(write=lambda use, x: ops.tanh(x * use.op.gain)))
    with pytest.raises(ValueError, match=r"The rule for 'gain' .*use\.affine"):
        quantize_model(sequential(Gain(name="gain")))


def test_a_rule_can_leave_a_use_in_floating_point():
    def write(use, x):
        if x.shape[-1] > 4:
            use.refuse("it is too wide")
        return ops.tanh(use.affine(x, use.op.gain))

    register_rule(Gain, QuantizeRule(write=write))
    model = sequential(Gain(name="wide"), layers.Dense(4), Gain(name="narrow"))
    assert [(row.name, row.reason) for row in left(model)] == [
        ("wide", "it can't be opened: it is too wide")
    ]


def test_an_activation_that_takes_no_symbols_and_joins_numbers_stays():
    def summed(x):
        if isinstance(x, keras.KerasTensor):
            raise TypeError("no symbols")
        return ops.cumsum(x, axis=-1)

    model = sequential(layers.Dense(4, activation=summed, name="dense"))
    rows = [(row.kind, row.reason) for row in left(model)]
    assert rows == [("Activation", "it can't be opened: no symbols")]
