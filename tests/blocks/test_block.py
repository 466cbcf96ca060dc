import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import values

from keras_share import SharedStack
from keras_share.blocks import (
    ConformerBlock,
    SeparableConvBlock,
    TransformerBlock,
    WindowedAttention,
)

SHAPE = (6, 8)
MAKE = {
    "transformer": lambda **kwargs: TransformerBlock(2, 12, **kwargs),
    "conformer": lambda **kwargs: ConformerBlock(2, 12, 3, **kwargs),
    "causal conformer": lambda **kwargs: ConformerBlock(
        2, 12, 3, padding="causal", window=3, **kwargs
    ),
    "separable": lambda **kwargs: SeparableConvBlock(3, rank=1, **kwargs),
    "attention": lambda **kwargs: WindowedAttention(2, 3, **kwargs),
}
blocks = pytest.mark.parametrize("kind", MAKE)
ARGUMENTS = {
    "kernel_initializer": keras.initializers.RandomUniform(2, 3),
    "kernel_regularizer": keras.regularizers.L2(0.25),
    "kernel_constraint": keras.constraints.NonNeg(),
    "bias_initializer": keras.initializers.Constant(5),
    "bias_regularizer": keras.regularizers.L1(0.5),
    "bias_constraint": keras.constraints.MaxNorm(1),
}


def built(kind, **kwargs):
    block = MAKE[kind](**kwargs)
    block.build((None, *SHAPE))
    return block


def weights_of(kind, layer):
    """The kernels and the biases of a block."""
    bias = "beta" if kind == "separable" else "bias"
    named = [(v.path.split("/")[-1], v) for v in layer.weights]
    kernels = [v for name, v in named if "kernel" in name]
    return kernels, [v for name, v in named if name == bias]


def reads(layer, name):
    return keras.saving.serialize_keras_object(getattr(layer, name))


@blocks
def test_arguments_reach_every_kernel_and_bias(kind):
    block = built(kind, **ARGUMENTS)
    kernels, biases = weights_of(kind, block)
    counts = {"transformer": 6, "separable": 2, "attention": 4}
    assert len(kernels) == counts.get(kind, 11)
    for name, group, low, high in (("kernel", kernels, 2, 3), ("bias", biases, 5, 5)):
        for v in group:
            start = ops.convert_to_numpy(v)
            assert low <= start.min() <= start.max() <= high
            assert v.regularizer is ARGUMENTS[f"{name}_regularizer"]
            assert v.constraint is ARGUMENTS[f"{name}_constraint"]
    others = [v for v in block.weights if not any(v is w for w in kernels + biases)]
    assert all(v.regularizer is v.constraint is None for v in others)
    # An initializer that is not cloned draws the same each time.
    same_shape = [
        ops.convert_to_numpy(v) for v in kernels if v.shape == kernels[0].shape
    ]
    assert len({v.tobytes() for v in same_shape}) == len(same_shape)


@blocks
def test_arguments_are_in_the_config(kind):
    block = MAKE[kind](**ARGUMENTS, seed=3, dropout=0.5)
    config = block.get_config()
    assert {*ARGUMENTS, "seed"} <= config.keys()
    copy = keras.layers.deserialize(keras.layers.serialize(block))
    assert copy.get_config() == config
    assert type(copy.kernel_constraint) is keras.constraints.NonNeg
    assert all(reads(copy, name) == reads(block, name) for name in ARGUMENTS)
    # As a file of before these arguments has it.
    old = {k: v for k, v in config.items() if k not in {*ARGUMENTS, "seed"}}
    assert reads(type(block).from_config(old), "kernel_constraint") is None


@blocks
def test_a_regularizer_counts_a_shared_weight_once(kind):
    plain = built(kind, **ARGUMENTS)
    kernels, biases = weights_of(kind, plain)
    # As in a layer of Keras that is used more than once.
    inputs = keras.Input(SHAPE)
    twice = keras.Model(inputs, plain(plain(inputs)))
    assert len(twice.losses) == len(kernels) + len(biases)

    private = "beta" if kind == "separable" else "bias"
    for names, copies in ((None, 1), (private, 3)):
        block = MAKE[kind](**ARGUMENTS)
        stack = SharedStack(block, "AAA", private=names)
        stack.build((None, *SHAPE))
        assert len(stack.losses) == len(kernels) + copies * len(biases)
        # The optimizer applies a constraint once to each variable that has it.
        constrained = [v for v in stack.weights if v.constraint is not None]
        assert len(constrained) == len(stack.losses)


@blocks
@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_repeats_the_dropout(kind, seed):
    one, same = (built(kind, dropout=0.5, seed=seed) for _ in range(2))
    other = built(kind, dropout=0.5, seed=seed + 1)
    x, outputs = values(3, *SHAPE), []
    for block in (one, same, other):
        block.set_weights(one.get_weights())
        # PyTorch's attention draws its dropout without Keras's seeds.
        keras.utils.set_random_seed(0)
        outputs.append(ops.convert_to_numpy(block(x, training=True)))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.abs(outputs[0] - outputs[2]).max() > 1e-3


@blocks
def test_each_sublayer_has_a_seed_of_its_own(kind):
    block = built(kind, dropout=0.5, seed=0)
    inputs = keras.Input(SHAPE)
    flat = keras.Model(inputs, block.call(inputs))
    drops = [
        x
        for x in flat.layers
        if isinstance(x, layers.Dropout | layers.MultiHeadAttention | WindowedAttention)
    ]
    counts = {"transformer": 3, "separable": 1, "attention": 1}
    assert len(drops) == counts.get(kind, 7)
    assert len({layer.seed for layer in drops}) == len(drops)
