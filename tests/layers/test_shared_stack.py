import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import JIT, values

from keras_share import SharedStack, SharingPattern, Tied

PATTERNS = [p for n in range(1, 6) for p in SharingPattern.all(n)]


def assert_equal(a, b):
    np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))


def block():
    """72 weights to share, 32 to keep (16 of them statistics)."""
    return keras.Sequential(
        [layers.Dense(8, activation="tanh"), layers.BatchNormalization()]
    )


def stack_model(pattern, **kwargs):
    inputs = keras.Input((8,))
    return keras.Model(inputs, SharedStack(block, pattern, **kwargs)(inputs))


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_every_pattern_counts_trains_and_round_trips(pattern, tmp_path):
    model = stack_model(pattern)
    assert model.count_params() == 72 * pattern.num_groups + 32 * pattern.num_sites

    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    before = [ops.convert_to_numpy(w) for w in model.trainable_weights]
    model.train_on_batch(values(4, 8), values(4, 8)[::-1])
    for old, new in zip(before, model.trainable_weights, strict=True):
        assert not np.array_equal(old, ops.convert_to_numpy(new)), new.path

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    stack = loaded.layers[1]
    assert stack.pattern == pattern
    assert loaded.count_params() == model.count_params()
    assert_equal(model(values(3, 8)), loaded(values(3, 8)))
    for site, layer in enumerate(stack.sites):
        inner = layer.layer if isinstance(layer, Tied) else layer
        assert inner is stack.blocks[pattern.labels[site]]


def test_unshared_is_plain_keras_bit_for_bit():
    shared = stack_model("unshared", num_sites=4)
    plain = keras.Sequential([keras.Input((8,)), *[block() for _ in range(4)]])
    plain.set_weights(shared.get_weights())
    x, y = values(32, 8), values(32, 8)[::-1]
    for model in (shared, plain):
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=JIT)
        model.fit(x, y, epochs=2, shuffle=False, verbose=0)
    for ours, theirs in zip(shared.weights, plain.weights, strict=True):
        assert_equal(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs))


def test_gradient_of_a_shared_kernel_is_the_sum_over_its_sites():
    pattern = SharingPattern("ABA")
    dense = layers.Dense(8, activation="tanh")
    inputs = keras.Input((8,))
    shared = keras.Model(inputs, SharedStack(dense, pattern)(inputs))
    plain = keras.Model(inputs, SharedStack(dense, None, num_sites=3)(inputs))
    kernels = values(2, 8, 8)
    for model, labels in ((shared, (0, 1)), (plain, pattern.labels)):
        weights = [w for g in labels for w in (kernels[g], np.zeros(8))]
        model.set_weights(weights)
        model.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=JIT)
        model.train_on_batch(values(4, 8), values(4, 8)[::-1])
    one, two, three = (
        plain.get_weights()[i] - kernels[g] for i, g in ((0, 0), (2, 1), (4, 0))
    )
    ours = shared.get_weights()
    np.testing.assert_allclose(ours[0] - kernels[0], one + three, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours[2] - kernels[1], two, rtol=1e-4, atol=1e-6)


def test_copies_a_layer_by_config():
    template = layers.Dense(8, activation="relu", name="hidden")
    stack = SharedStack(template, "ABA")
    assert [b.name for b in stack.blocks] == ["hidden_A", "hidden_B"]
    assert all(b.activation is keras.activations.relu for b in stack.blocks)
    assert template not in stack.blocks


def test_blocks_of_a_list_may_differ_in_taking_training():
    class Plain(layers.Layer):
        def call(self, x):
            return x + 1

    stack = SharedStack([layers.Dropout(0.5), Plain()], "ABAB")
    x = values(4, 64)
    assert_equal(stack(x, training=False), x + 1 + 1)
    assert (ops.convert_to_numpy(stack(x, training=True)) != x + 1 + 1).any()


def test_a_stack_of_stacks_has_every_normalization_private():
    model = stack_model("AA")
    inner = SharedStack(block, "AA")
    outer = SharedStack([inner], "AA")
    outer.build((None, 8))
    assert outer.count_params() == 72 + 4 * 32
    assert model.count_params() == 72 + 2 * 32


def test_copies_a_block_with_its_ties():
    dense = layers.Dense(8)
    inputs = keras.Input((8,))
    tied = keras.Model(inputs, Tied(dense, "bias")(dense(inputs)))
    stack = SharedStack(tied, "AB")
    stack.build((None, 8))
    assert stack.count_params() == 2 * 80
    assert stack.blocks[0].name == f"{tied.name}_A"


def test_blocks_with_several_inputs_are_passed_built():
    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(8)

        def build(self, x_shape, context_shape):
            self.dense.build(x_shape)

        def call(self, x, context):
            return self.dense(x) + context

    x, context = values(2, 8), values(2, 8)
    block = Block()
    block(x, context)
    stack = SharedStack([block], "AA", private="bias")
    assert_equal(stack(x, context), block(block(x, context), context))
    with pytest.raises(ValueError, match="must be built before the stack"):
        SharedStack(Block, "AA")(x, context)


def test_takes_a_list_of_layers_as_they_are():
    blocks = [layers.Dense(8), layers.Dense(8, activation="relu")]
    stack = SharedStack(blocks, "ABA")
    assert all(a is b for a, b in zip(stack.blocks, blocks, strict=True))


@pytest.mark.parametrize(
    "private, own", [(None, 0), ("bias", 8), ("normalization", 32)]
)
def test_private(private, own):
    model = stack_model("AAA", private=private)
    assert model.count_params() == 104 + 2 * own


def test_clone_model_and_config_round_trip():
    model = stack_model("ABBA")
    clone = keras.models.clone_model(model)
    assert clone.count_params() == model.count_params()
    clone.set_weights(model.get_weights())
    assert_equal(model(values(2, 8)), clone(values(2, 8)))
    stack = model.layers[1]
    copy = SharedStack.from_config(stack.get_config())
    assert copy.pattern == stack.pattern


def test_works_in_sequential_with_callbacks(tmp_path):
    model = keras.Sequential([keras.Input((8,)), SharedStack(block, "AABA")])
    model.compile("adam", "mse", jit_compile=True)
    model.optimizer.build(model.trainable_variables)  # else Keras traces twice
    path = tmp_path / "best.keras"
    history = model.fit(
        values(64, 8),
        values(64, 8),
        epochs=2,
        validation_split=0.25,
        callbacks=[
            keras.callbacks.ModelCheckpoint(path, save_best_only=True),
            keras.callbacks.EarlyStopping(patience=5),
        ],
        verbose=0,
    )
    assert np.isfinite(history.history["val_loss"]).all()
    assert keras.models.load_model(path).count_params() == model.count_params()


def test_weights_only_round_trip(tmp_path):
    one, two = stack_model("ABA"), stack_model("ABA")
    one.save_weights(tmp_path / "a.weights.h5")
    two.load_weights(tmp_path / "a.weights.h5")
    assert_equal(one(values(2, 8)), two(values(2, 8)))


def test_nests():
    inner = SharedStack(layers.Dense(8), "AA", name="inner")
    inputs = keras.Input((8,))
    model = keras.Model(inputs, SharedStack(inner, "ABA", private=None)(inputs))
    assert model.count_params() == 2 * 72
    clone = keras.models.clone_model(model)
    assert clone.count_params() == 2 * 72


def test_passes_arguments_to_every_site():
    attention = layers.MultiHeadAttention(2, 4)

    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.attention = attention.from_config(attention.get_config())

        def build(self, input_shape):
            self.attention.build(input_shape, input_shape)

        def call(self, x, attention_mask=None):
            return self.attention(x, x, attention_mask=attention_mask)

    stack = SharedStack(Block, "AA", private="bias")
    x = values(1, 3, 8)
    mask = np.tril(np.ones((1, 3, 3), bool))
    changed = x.copy()
    changed[0, 2] += 1
    stack(x)
    for masked, same in ((mask, True), (None, False)):
        before = ops.convert_to_numpy(stack(x, attention_mask=masked))[0, 0]
        after = ops.convert_to_numpy(stack(changed, attention_mask=masked))[0, 0]
        assert np.allclose(before, after) == same


def test_masks_reach_every_site_and_leave_the_stack():
    inputs = keras.Input((4,), dtype="int32")
    x = layers.Embedding(5, 8, mask_zero=True)(inputs)
    x = SharedStack(layers.Dense(8, activation="tanh"), "AA")(x)
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(x))
    full = model(np.array([[1, 2, 0, 0]]))
    short = model.layers[1](np.array([[1, 2]]))
    short = model.layers[2](short)
    np.testing.assert_allclose(
        ops.convert_to_numpy(full),
        ops.convert_to_numpy(ops.mean(short, axis=1)),
        rtol=1e-5,
        atol=1e-6,
    )


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = stack_model("AAB")
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.outputs[0].dtype == "bfloat16"
    model.compile("sgd", "mse", jit_compile=JIT)
    model.fit(values(8, 8), values(8, 8), verbose=0)
    assert {w.dtype for w in model.weights} == {"float32"}


def test_compute_output_shape_without_building():
    stack = SharedStack(layers.Dense(4), "AB")
    assert stack.compute_output_shape((None, 8)) == (None, 4)


def test_summary_shows_what_is_shared():
    model = stack_model("ABAA")
    lines = []
    model.layers[1].summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert "pattern ABAA" in lines[0]
    assert lines[3].split()[:2] == ["1", "B"]
    assert lines[4].split()[:2] == ["2", "A"] and '"' in lines[4]
    assert "272 parameters stored, 416 if nothing were shared" in text

    lines.clear()
    model.summary(
        line_length=150,
        expand_nested=True,
        print_fn=lambda text, **_: lines.append(text),
    )
    assert "site_2 (Tied)" in "\n".join(lines)


def test_sharing_needs_a_built_stack():
    with pytest.raises(ValueError, match="no weights yet"):
        SharedStack(layers.Dense(2), "AA").sharing()


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: SharedStack(layers.Dense(8), "AAB", num_sites=4),
            r"one label per site",
        ),
        (lambda: SharedStack(layers.Dense(8), "cycle:9", num_sites=4), "num_groups=9"),
        (lambda: SharedStack(layers.Dense(8), "ring:2", num_sites=4), "Unknown family"),
        (lambda: SharedStack(layers.Dense(8)), "`num_sites` is needed"),
        (lambda: SharedStack("dense", "AB"), "must be a Keras layer.*'dense'"),
        (lambda: SharedStack(lambda: "dense", "AB"), "must be a Keras layer"),
        (lambda: SharedStack([layers.Dense(8)], "AB"), r"per group \(2\).*1 separate"),
        (
            lambda: SharedStack([layers.Dense(8)] * 2, "AB"),
            "must return a new layer at each call",
        ),
        (
            lambda: SharedStack(layers.Dense(4), "ABA", name="s")(keras.Input((8,))),
            r"'s' with pattern ABA, site 2 receives shape \(None, 4\)",
        ),
        (
            lambda: SharedStack(layers.LSTM(4, return_state=True), "AB")(
                keras.Input((3, 4))
            ),
            "must return one tensor",
        ),
        (
            lambda: SharedStack(layers.Dense(8), "AA", private="head")(
                keras.Input((8,))
            ),
            "'head', which is neither",
        ),
    ],
)
def test_errors_come_before_training(make, message):
    with pytest.raises(ValueError, match=message):
        make()
