"""Stacks whose sites run in a loop, against the same sites in turn."""

import keras
import numpy as np
from keras import layers, ops
from random_data import JIT, randomize, values

from keras_share import SharedStack

# PyTorch runs what others trace.
TRACES = keras.config.backend() != "torch"


@keras.saving.register_keras_serializable(package="test_loop")
class Count(layers.Layer):
    """Counts how often it is called."""

    calls = 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x):
        Count.calls += 1
        return x

    def compute_output_shape(self, input_shape):
        return input_shape


def dense_and_norm():
    return keras.Sequential(
        [layers.Dense(8, activation="tanh"), layers.BatchNormalization()]
    )


def stack_model(block, pattern, shape=(8,), **kwargs):
    stack = SharedStack(block, pattern, **kwargs)
    inputs = keras.Input(shape)
    model = keras.Model(inputs, stack(inputs))
    return randomize(model)


def assert_close(a, b, name=""):
    a, b = ops.convert_to_numpy(a), ops.convert_to_numpy(b)
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=name)


def assert_same(block, pattern, shape=(8,), x=None, model=stack_model, **kwargs):
    """Compares a loop with the sites in turn, and returns the model with the loop.

    The sites in turn run eagerly: loss, weights and statistics after a training step,
    then the output at inference.
    """
    unrolled, looped = (
        model(block, pattern, shape, unroll=unroll, **kwargs)
        for unroll in (True, False)
    )
    # Also the seeds, which are no weights.
    for ours, theirs in zip(looped.variables, unrolled.variables, strict=True):
        ours.assign(theirs)
    x = values(4, *shape) if x is None else x
    y = values(*unrolled.compute_output_shape(x.shape))[::-1]
    results = []
    for one, settings in (
        (unrolled, {"run_eagerly": True}),
        (looped, {"jit_compile": JIT}),
    ):
        one.compile(keras.optimizers.SGD(0.1), "mse", **settings)
        # Else Keras traces a second time, once it has made the variables.
        one.optimizer.build(one.trainable_variables)
        # PyTorch's attention draws its dropout without Keras's seeds.
        keras.utils.set_random_seed(0)
        loss = one.train_on_batch(x, y)
        # A copy: JAX takes the old values away with the next step.
        variables = [ops.convert_to_numpy(v) for v in one.variables]
        results.append([loss, *variables, one.predict_on_batch(x)])
    names = ["loss", *(v.path for v in looped.variables), "outputs"]
    for name, ours, theirs in zip(names, *results, strict=True):
        assert_close(ours, theirs, name)
    return looped


def assert_traced(model, x, sites):
    """Checks how many sites are traced for a prediction."""
    Count.calls = 0
    model.compile(jit_compile=JIT)
    model.predict_on_batch(x)
    assert Count.calls == sites
