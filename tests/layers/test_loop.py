import re
from itertools import product

import keras
import numpy as np
import pytest
from keras import layers, ops
from looped import (
    TRACES,
    Count,
    assert_close,
    assert_same,
    assert_traced,
    dense_and_norm,
    stack_model,
)
from random_data import JIT, randomize, values

from keras_share import LowRank, SharedStack, SharingPattern
from keras_share.blocks import TransformerBlock
from keras_share.layers.loop import Run, find_runs

# The other four have nothing that repeats.
PATTERNS = [p for p in SharingPattern.all(4) if re.search(r"(.+)\1", str(p))]

# The plan.


@pytest.mark.parametrize(
    "pattern, runs",
    [
        ("A", [(0, 1, 1)]),
        ("AAAA", [(0, 1, 4)]),
        ("ABABAB", [(0, 2, 3)]),
        ("AABB", [(0, 1, 2), (2, 1, 2)]),
        ("ABBBC", [(0, 1, 1), (1, 1, 3), (4, 1, 1)]),
        ("XABABABY", [(0, 1, 1), (1, 2, 3), (7, 1, 1)]),
        ("AABAAB", [(0, 3, 2)]),
        ("AABABAB", [(0, 1, 1), (1, 2, 3)]),
        ("ABCCBA", [(0, 1, 1), (1, 1, 1), (2, 1, 2), (4, 1, 1), (5, 1, 1)]),
        ("A" * 48, [(0, 1, 48)]),
    ],
)
def test_runs(pattern, runs):
    stack = SharedStack(layers.Dense(2), pattern, private="bias")
    stack.build((None, 2))
    assert find_runs(stack.sites) == [Run(*run) for run in runs]


def test_no_split_into_runs_traces_fewer_sites():
    blocks = [layers.Dense(2) for _ in range(6)]
    for block in blocks:
        block.build((None, 2))

    def fewest(labels):
        if not labels:
            return 0
        splits = [(1, 1)]
        for length, times in product(range(1, len(labels)), range(2, 7)):
            part = labels[: length * times]
            if part == labels[:length] * times:
                splits.append((length, times))
        return min(n + fewest(labels[n * times :]) for n, times in splits)

    for size in range(1, 7):
        for pattern in SharingPattern.all(size):
            runs = find_runs([blocks[label] for label in pattern.labels])
            assert sum(run.length for run in runs) == fewest(pattern.labels), pattern
            stops = [run.start + run.length * run.times for run in runs]
            assert [0, *stops] == [run.start for run in runs] + [size]


def test_state_that_returns_later_is_no_run():
    # The third site reads what the first assigns, which a loop would not show it.
    parts = {"dense": "AAAA", "norm": "ABAB"}
    stack = SharedStack(named_dense_and_norm, parts, private=None)
    stack.build((None, 8))
    assert find_runs(stack.sites) == [Run(0, 2, 2)]


# The same numbers.


def test_every_pattern():
    def model(block, patterns, shape, unroll):
        # Side by side: one model is traced faster than many.
        inputs = keras.Input(shape)
        outputs = [
            SharedStack(block, pattern, unroll=unroll, name=str(pattern))(inputs)
            for pattern in patterns
        ]
        return randomize(keras.Model(inputs, layers.Concatenate()(outputs)))

    assert_same(dense_and_norm, PATTERNS, model=model)


def test_dropout_draws_the_same():
    block = lambda: keras.Sequential(  # noqa: E731
        [layers.Dense(8), layers.Dropout(0.5, seed=1), Count()]
    )
    model = assert_same(block, "ABABAB")
    assert_traced(model, values(4, 8), 2 if TRACES else 6)


@pytest.mark.parametrize("private", [None, "normalization"])
def test_losses_added_inside(private):
    block = lambda: keras.Sequential(  # noqa: E731
        [
            layers.Dense(8, activity_regularizer="l2", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            Count(),
        ]
    )
    model = assert_same(block, "AAAB", private=private)
    assert_traced(model, values(4, 8), 2 if TRACES else 4)


def test_shared_statistics():
    assert_same(dense_and_norm, "AAAA", private=None)


class Trace(layers.Layer):
    """Adds what it has seen of its inputs before, and remembers this one."""

    def build(self, shape):
        self.seen = self.add_weight(
            name="seen", shape=shape[-1:], initializer="zeros", trainable=False
        )

    def call(self, x):
        y = x + self.seen
        self.seen.assign(0.5 * self.seen + ops.mean(x, axis=0))
        return y

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.parametrize("private", [None, "seen"])
def test_gradients_of_what_is_assigned(private):
    block = lambda: keras.Sequential(  # noqa: E731
        [layers.Dense(8, activation="tanh"), Trace()]
    )
    assert_same(block, "AAA", private=private)


def test_everything_together():
    """Dropout, statistics, losses and loss scaling in half precision, with Adam.

    The layer before the normalization has no bias. The true gradient of one would be
    zero, and Adam makes steps of full size of the noise of rounding that is left: two
    unrolled runs, eager and compiled, then end as far apart as the loop and either.
    """

    def block():
        policy = "mixed_float16"
        dense = layers.Dense(8, use_bias=False, kernel_regularizer="l2", dtype=policy)
        return keras.Sequential(
            [
                dense,
                layers.BatchNormalization(dtype=policy),
                layers.Dropout(0.3, seed=1, dtype=policy),
            ]
        )

    x, results = values(32, 8), []
    for unroll in (True, False):
        stack = SharedStack(block, "AAAA", private=None, unroll=unroll)
        model = randomize(keras.Sequential([keras.Input((8,)), stack, layers.Dense(8)]))
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.05))
        # Unrolled, to trace it takes longer than its six steps.
        settings = {"run_eagerly": True} if unroll else {"jit_compile": JIT}
        model.compile(optimizer, "mse", **settings)
        optimizer.build(model.trainable_variables)  # else Keras traces twice
        history = model.fit(x, x[::-1], 16, epochs=3, shuffle=False, verbose=0)
        weights = [ops.convert_to_numpy(v) for v in model.weights]
        results.append([*history.history["loss"], *weights, model.predict_on_batch(x)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_frozen_blocks():
    def frozen(*args, **kwargs):
        model = stack_model(*args, **kwargs)
        model.layers[1].trainable = False
        return keras.Sequential([model, layers.Dense(8, kernel_initializer="ones")])

    assert_same(dense_and_norm, "AAA", model=frozen)


def named_dense_and_norm():
    return keras.Sequential(
        [
            layers.Dense(8, activation="tanh", name="dense"),
            layers.BatchNormalization(name="norm"),
            Count(),
        ]
    )


@pytest.mark.parametrize(
    "parts, sites",
    [
        ({"dense": "shared"}, 1),
        ({"norm": "shared"}, 1),
        # Of the statistics, two sites in a row have the same.
        ({"dense": "shared", "norm": "AABB"}, 2),
    ],
    ids=str,
)
def test_components(parts, sites):
    model = assert_same(named_dense_and_norm, parts, num_sites=4, private=None)
    assert_traced(model, values(4, 8), sites if TRACES else 4)


def test_relaxations():
    assert_same(dense_and_norm, "AAAB", relax=LowRank(2))


def test_transformer():
    block = lambda: TransformerBlock(2, 16, dropout=0.3)  # noqa: E731
    assert_same(block, "AAA", (5, 8))


def test_recurrent_layers():
    assert_same(layers.GRU(8, return_sequences=True), "AAA", (3, 8))


def test_stacks_in_a_stack():
    block = lambda: SharedStack(named_dense_and_norm, "AA", unroll=False)  # noqa: E731
    model = assert_same(block, "AA")
    assert_traced(model, values(4, 8), 1 if TRACES else 4)


class Attend(layers.Layer):
    """Attends to a sequence that all sites are given."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(2, 4)
        self.supports_masking = True

    def build(self, shape):
        self.attention.build(shape, shape)

    def call(self, x, context=None, attention_mask=None):
        context = x if context is None else context
        return x + self.attention(x, context, attention_mask=attention_mask)

    def compute_output_shape(self, shape):
        return shape


def test_arguments_reach_every_site():
    class Model(keras.Model):
        def __init__(self, unroll):
            super().__init__()
            self.stack = SharedStack(Attend, "AAA", private="bias", unroll=unroll)
            self.dense = layers.Dense(8)
            self.stack.build((None, 3, 8))
            self.dense.build((None, 3, 8))

        def call(self, x):
            mask = np.tril(np.ones((1, 3, 3), bool))
            return self.stack(x, context=self.dense(x), attention_mask=mask)

        def compute_output_shape(self, shape):
            return shape

    def model(block, pattern, shape, unroll):
        return randomize(Model(unroll))

    assert_same(None, None, (3, 8), model=model)


# What is no loop.


def test_what_changes_form_at_first_is_a_loop_from_then_on():
    block = lambda: keras.Sequential(  # noqa: E731
        [layers.Dense(8, dtype="mixed_bfloat16"), Count(dtype="mixed_bfloat16")]
    )
    model = stack_model(block, "AAAAAA", unroll=False)
    # It is tried, then the first site runs on float32, and the loop on bfloat16.
    assert_traced(model, values(4, 8), 3 if TRACES else 6)
    assert model.outputs[0].dtype == "bfloat16"
    assert {w.dtype for w in model.weights} == {"float32"}


@pytest.mark.skipif(not TRACES, reason="Keras can't train it twice on PyTorch")
def test_weights_that_are_assigned_in_training():
    def block():
        dense = layers.Dense(8, activation="tanh")
        return keras.Sequential([layers.SpectralNormalization(dense)])

    assert_same(block, "AAA")


def test_blocks_that_change_the_shape():
    assert_same(layers.Conv1D(8, 3, activation="tanh"), "AAA", (9, 8))


@pytest.mark.parametrize("unroll", [True, False])
def test_round_trip(unroll, tmp_path):
    model = stack_model(dense_and_norm, "AAB", unroll=unroll)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[1].unroll is unroll
    assert_close(loaded.predict_on_batch(values(2, 8)), model(values(2, 8)))


@pytest.mark.parametrize("depth", [3, 12])
def test_tracing_does_not_grow_with_depth(depth):
    model = stack_model(named_dense_and_norm, "A" * depth, unroll=False)
    assert_traced(model, values(2, 8), 1 if TRACES else depth)
