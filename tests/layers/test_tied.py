import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import JIT, values
from tied_models import assert_equal, block, one_step, tied_model

import keras_share
from keras_share import LowRank, Tied
from keras_share.layers import Relaxed


@pytest.mark.parametrize(
    "private, stored",
    [
        (None, 72 + 32),
        ("normalization", 72 + 64),
        ("norm", 72 + 64),
        ("bias", 72 + 8 + 32),
        (["bias", "gamma"], 72 + 8 + 32 + 8),
        (["normalization", "kernel"], 72 + 64 + 64),
        (lambda v: "moving" in v.path, 72 + 32 + 16),
        (lambda v: False, 72 + 32),
    ],
)
def test_keeps_private_copies_of_what_is_named(private, stored):
    model = tied_model(private)
    assert model.count_params() == stored
    x = values(4, 8)
    inner = model.layers[1]
    expected = inner(inner(x, training=False), training=False)
    assert_equal(model(x, training=False), expected)


def test_gradient_of_a_tied_weight_is_the_sum_over_its_uses():
    x, y = values(16, 8), values(16, 8)
    tied = tied_model()
    first, second = block(), block()
    inputs = keras.Input((8,))
    plain = keras.Model(inputs, second(first(inputs)))
    first.set_weights(tied.layers[1].get_weights())
    second.set_weights(tied.layers[1].get_weights())

    ours, theirs = one_step(tied, x, y), one_step(plain, x, y)

    def of(changes, layer, name):
        return next(v for k, v in changes.items() if k == f"{layer}{name}")

    assert np.abs(of(ours, tied.layers[1].name, "/dense/kernel")).max() > 1e-3
    for name in ("kernel", "bias"):
        shared = of(ours, tied.layers[1].name, f"/dense/{name}")
        both = [of(theirs, part.name, f"/dense/{name}") for part in (first, second)]
        np.testing.assert_allclose(shared, sum(both), rtol=1e-4, atol=1e-6)
    for name in ("gamma", "beta"):
        own = of(ours, "again", f"/norm_{name}")
        np.testing.assert_allclose(
            own, of(theirs, second.name, f"/norm/{name}"), rtol=1e-4, atol=1e-6
        )


def test_moving_statistics_are_kept_per_use():
    model = tied_model()
    one_step(model, values(16, 8), values(16, 8))
    [own] = [w for w in model.layers[2].weights if w.name == "norm_moving_mean"]
    inner = model.layers[1].get_layer("norm").moving_mean
    assert np.abs(ops.convert_to_numpy(inner)).max() > 0
    assert np.abs(ops.convert_to_numpy(own) - ops.convert_to_numpy(inner)).max() > 0


@pytest.mark.parametrize("private", [None, "bias"])
def test_shared_statistics_are_updated_by_each_use(private):
    model = tied_model(private)
    plain = block()
    inputs = keras.Input((8,))
    twice = keras.Model(inputs, plain(plain(inputs)))
    plain.set_weights(model.layers[1].get_weights())
    x, y = values(16, 8) + 3, values(16, 8)
    for each in (model, twice):
        one_step(each, x, y)
    norm, expected = model.layers[1].get_layer("norm"), plain.get_layer("norm")
    for name in ("moving_mean", "moving_variance"):
        ours, theirs = (
            ops.convert_to_numpy(getattr(n, name)) for n in (norm, expected)
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_seeds_advance_and_differ_per_use():
    dropout = layers.Dropout(0.5, seed=1)
    other = keras.Sequential([layers.BatchNormalization(), dropout])
    x = values(4, 64)
    inputs = keras.Input((64,))
    outputs = [other(inputs), Tied(other)(inputs)]
    model = keras.Model(inputs, outputs)
    one, two = (ops.convert_to_numpy(y) != 0 for y in model(x, training=True))
    three, _ = (ops.convert_to_numpy(y) != 0 for y in model(x, training=True))
    assert (one != two).any()
    assert (one != three).any() and (two != three).any()


def test_losses_inside_are_passed_on():
    dense = layers.Dense(
        4, activity_regularizer="l2", kernel_regularizer="l2", bias_regularizer="l2"
    )
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Tied(dense, private="bias")(dense(inputs)))
    model(values(2, 4))
    # A kernel, two biases, two outputs.
    assert len(model.losses) == 5


def test_masks_and_training_are_passed_on():
    class Recorder(layers.Layer):
        def __init__(self):
            super().__init__()
            self.supports_masking = True
            self.seen = []

        def call(self, x, mask=None, training=None):
            self.seen.append((mask is not None, bool(training)))
            return x

    inner = Recorder()
    tied = Tied(inner)
    x = layers.Embedding(5, 3, mask_zero=True)(np.array([[1, 2, 0]]))
    y = tied(x, training=True)
    assert inner.seen[-1] == (True, True)
    assert_equal(y._keras_mask, [[True, True, False]])
    tied(x)
    assert inner.seen[-1] == (True, False)


def test_takes_layers_with_several_inputs():
    attention = layers.MultiHeadAttention(2, 4)
    query, value = keras.Input((5, 8)), keras.Input((7, 8))
    first = attention(query, value)
    second = Tied(attention, private="bias")(query, value, use_causal_mask=False)
    model = keras.Model([query, value], [first, second])
    assert_equal(*model([values(2, 5, 8), values(2, 7, 8)]))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_private_statistics_in_float32(policy):
    inner = keras.Sequential(
        [layers.Dense(8, dtype=policy), layers.BatchNormalization(dtype=policy)],
    )
    inputs = keras.Input((8,))
    outputs = Tied(inner)(inner(inputs))
    assert outputs.dtype == policy.removeprefix("mixed_")
    model = keras.Model(inputs, outputs)
    one_step(model, values(8, 8), values(8, 8))
    for copy in model.layers[-1].private_copies:
        assert copy[1].dtype == "float32"
        value = ops.convert_to_numpy(copy[1])
        half = ops.convert_to_numpy(
            ops.cast(ops.cast(copy[1], inputs.dtype), "float32")
        )
        assert_equal(value, half)


def test_float32_layers_are_read_exactly_inside_a_mixed_model():
    inner = keras.Sequential([layers.Dense(8, dtype="float32")])
    x = values(4, 8)
    plain = inner(x)

    class Outer(layers.Layer):
        def __init__(self):
            super().__init__(dtype="mixed_float16")
            self.tied = Tied(inner, private="bias")

        def call(self, x):
            return self.tied(ops.cast(x, "float32"))

    half = ops.cast(ops.cast(x, "float16"), "float32")
    assert_equal(Outer()(x), inner(half))
    assert plain.dtype == inner(half).dtype


def test_metrics_inside_count_every_use():
    class Counting(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(4)
            self.metric = keras.metrics.Sum(name="calls")

        def build(self, shape):
            self.dense.build(shape)

        def call(self, x):
            self.metric.update_state(1.0)
            return self.dense(x)

    inner = Counting()
    tied = Tied(inner, private="bias")
    x = values(2, 4)
    tied(tied(inner(x)))
    assert float(inner.metric.result()) == 3


def test_a_layer_with_several_inputs_must_be_built():
    with pytest.raises(ValueError, match=r"must be built before.*Call 'add'"):

        class Two(layers.Layer):
            def call(self, x, context):
                return x + context

        Tied(Two(name="add"))(values(2, 4), values(2, 4))


def test_builds_a_layer_that_is_not_built_yet():
    tied = Tied(layers.Dense(4), private="bias")
    assert tied.compute_output_shape((None, 3)) == (None, 4)
    tied.build((None, 3))
    assert sorted(tuple(w.shape) for w in tied.weights) == [(3, 4), (4,), (4,)]


def test_trains_compiled():
    model = tied_model(dropout=0.2)
    model.compile("adam", "mse", jit_compile=True)
    model.optimizer.build(model.trainable_variables)  # else Keras traces twice
    history = model.fit(values(64, 8), values(64, 8), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(
    "private, message",
    [
        ("head", r"'head', which is neither.*'dense'.*'norm'.*'gamma'"),
        (3, "must be 'normalization', names.*private=3"),
        ([3.5], r"must be 'normalization', names.*private=\[3.5\]"),
        ([1, 7], r"between 0 and 5, the last weight of.*private=\(1, 7\)"),
        ([-1], r"between 0 and 5, the last weight of.*private=\(-1,\)"),
    ],
)
def test_errors(private, message):
    with pytest.raises(ValueError, match=message):
        tied_model(private)


def test_refuses_what_is_not_a_layer():
    with pytest.raises(ValueError, match="valid Keras layer"):
        Tied(lambda x: x)


@pytest.mark.parametrize("use", [Tied, lambda *a, **k: Relaxed(*a, LowRank(1), **k)])
def test_refuses_a_dtype_of_its_own(use):
    dense = layers.Dense(3, dtype="mixed_bfloat16", name="inner")
    assert use(dense, dtype=None).dtype_policy.name == "float32"
    message = r"`dtype` is that of .* 'inner' \(float32\): set .*dtype='bfloat16'"
    with pytest.raises(ValueError, match=message):
        use(dense, dtype="bfloat16")


def test_is_exported():
    assert keras_share.Tied is Tied


def test_losses_added_inside_count_as_in_a_layer_used_twice():
    inputs = keras.Input((4,))
    first, again = (layers.Dense(4, activity_regularizer="l2") for _ in range(2))
    model = keras.Model(inputs, Tied(first, "bias")(first(inputs)))
    plain = keras.Model(inputs, again(again(inputs)))
    again.set_weights(first.get_weights())
    x = np.ones((3, 4), "float32")
    losses = []
    for each in (model, plain):
        each.compile("sgd", "mse", jit_compile=JIT)
        losses.append(each.train_on_batch(x, x))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("kind", [layers.LSTM, layers.ConvLSTM1D])
def test_a_state_that_uses_would_share_is_refused(kind):
    args = (4,) if kind is layers.LSTM else (4, 3)
    layer = kind(*args, stateful=True, name="memory")
    with pytest.raises(ValueError, match=r"one state.*'memory' with stateful=True"):
        Tied(keras.Sequential([layer]))
