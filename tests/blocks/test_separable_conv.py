import doctest
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import JIT

from keras_share.blocks import SeparableConvBlock, separable_conv

CHANNELS = 4
SHAPES = {1: (6, CHANNELS), 2: (6, 5, CHANNELS)}
ranks = pytest.mark.parametrize("rank", [1, 2])


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


def data(rank):
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, *SHAPES[rank])).astype("float32")


def make(rank, **kwargs):
    """A built block whose every weight is random: ones and zeros hide mistakes."""
    block = SeparableConvBlock(rank=rank, **kwargs)
    block.build((None, *SHAPES[rank]))
    rng = np.random.default_rng(1)
    block.set_weights([rng.uniform(0.2, 1, size=w.shape) for w in block.get_weights()])
    return block


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def plain(block, residual, filters):
    """The same function, in plain Keras layers with weights of their own."""
    if block.rank == 1:
        depthwise, pointwise = layers.DepthwiseConv1D, layers.Conv1D
    else:
        depthwise, pointwise = layers.DepthwiseConv2D, layers.Conv2D
    parts = [
        depthwise(3, padding="same", use_bias=False),
        pointwise(filters, 1, use_bias=False),
        layers.BatchNormalization(),
    ]
    x = inputs = keras.Input(SHAPES[block.rank])
    for layer in parts:
        x = layer(x)
    x = layers.ReLU()(x)
    outputs = layers.Add()([inputs, x]) if residual else x
    trained = (block.depthwise, block.pointwise, block.normalization)
    for layer, source in zip(parts, trained, strict=True):
        layer.set_weights(source.get_weights())
    return keras.Model(inputs, outputs)


@ranks
@pytest.mark.parametrize("kernel_size", [1, 3, 4])
def test_keeps_the_shape(rank, kernel_size):
    x = data(rank)
    block = SeparableConvBlock(kernel_size, rank=rank)
    assert block.compute_output_shape(x.shape) == x.shape
    assert tuple(block(x).shape) == x.shape
    unknown = (None,) * rank
    assert block(keras.Input((*unknown, CHANNELS))).shape == (None, *unknown, CHANNELS)


@ranks
def test_changes_the_channels_without_residual(rank):
    x = data(rank)
    block = SeparableConvBlock(filters=7, rank=rank, residual=False)
    expected = (*x.shape[:-1], 7)
    assert block.compute_output_shape(x.shape) == tuple(block(x).shape) == expected


@pytest.mark.parametrize(
    ("arguments", "kernel"),
    [
        ({"rank": 1}, 3),
        ({"rank": 1, "kernel_size": [5]}, 5),
        ({"rank": 2}, 3 * 3),
        ({"rank": 2, "kernel_size": (10, 4)}, 10 * 4),
    ],
)
def test_number_of_weights(arguments, kernel):
    block = make(**arguments)
    expected = kernel * CHANNELS + CHANNELS * CHANNELS + 4 * CHANNELS
    assert block.count_params() == expected
    assert (len(block.trainable_weights), len(block.weights)) == (4, 6)


@ranks
@pytest.mark.parametrize(("residual", "filters"), [(True, CHANNELS), (False, 3)])
def test_equals_plain_keras(rank, residual, filters):
    block = make(rank, residual=residual, filters=filters, dropout=0.1)
    expected = plain(block, residual, filters)
    x = data(rank)
    np.testing.assert_allclose(numpy(block(x)), numpy(expected(x)), rtol=1e-6)
    block.dropout_layer.rate = 0
    np.testing.assert_allclose(
        numpy(block(x, training=True)), numpy(expected(x, training=True)), rtol=1e-5
    )


def test_config_round_trip():
    arguments = {
        "kernel_size": (3, 5),
        "filters": 6,
        "rank": 2,
        "activation": "gelu",
        "residual": False,
        "dropout": 0.25,
        "kernel_initializer": keras.initializers.HeNormal(seed=3),
        "name": "mine",
        "dtype": "mixed_bfloat16",
    }
    block = SeparableConvBlock(**arguments)
    config = block.get_config()
    assert arguments.keys() <= config.keys()
    clone = keras.layers.deserialize(keras.layers.serialize(block))
    assert type(clone) is SeparableConvBlock
    assert clone.get_config() == config
    assert clone.kernel_size == (3, 5)
    assert clone.kernel_initializer.seed == 3
    assert clone.activation is keras.activations.gelu


@ranks
@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_keras_file_is_exact(rank, tmp_path, kind):
    blocks = [make(rank), make(rank, filters=6, residual=False, dropout=0.1)]
    inputs = keras.Input(SHAPES[rank])
    if kind == "functional":
        model = keras.Model(inputs, blocks[1](blocks[0](inputs)))
    else:
        model = keras.Sequential([inputs, *blocks])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = data(rank)
    np.testing.assert_array_equal(numpy(loaded(x)), numpy(model(x)))


@ranks
def test_every_weight_trains(rank):
    block = SeparableConvBlock(rank=rank)
    model = keras.Sequential([keras.Input(SHAPES[rank]), block])
    before = [numpy(v) for v in block.weights]
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=not JIT)
    x = data(rank)
    model.fit(x, x[::-1], verbose=0)
    moves = [
        np.abs(numpy(v) - old).max()
        for v, old in zip(block.weights, before, strict=True)
    ]
    assert min(moves) > 1e-6


@ranks
def test_dropout_acts_in_training_only(rank):
    x, block = data(rank), make(rank, dropout=0.5)
    np.testing.assert_array_equal(numpy(block(x)), numpy(block(x, training=False)))
    first, second = (numpy(block(x, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-3


@ranks
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(rank, policy):
    x, block = data(rank), make(rank, dtype=policy)
    assert keras.backend.standardize_dtype(block(x).dtype) == policy[6:]
    assert {v.dtype for v in block.weights} == {"float32"}
    result = numpy(ops.cast(block(x), "float32"))
    np.testing.assert_allclose(result, numpy(make(rank)(x)), rtol=0.02, atol=0.1)


def test_mask_is_passed_on():
    x = np.where(np.arange(6)[:, None] < 4, data(1), 0)
    masked = layers.Masking()(x)
    block = make(1, kernel_size=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pooled = layers.GlobalAveragePooling1D()(block(masked))
    expected = numpy(block(x))[:, :4].mean(axis=1)
    np.testing.assert_allclose(numpy(pooled), expected, rtol=1e-5)

    block(layers.Masking()(x), training=True)
    statistics = numpy(block.normalization.moving_mean)
    block = make(1, kernel_size=1)
    block(x[:, :4], training=True)
    np.testing.assert_allclose(
        statistics, numpy(block.normalization.moving_mean), rtol=1e-5
    )


@ranks
def test_traces_to_its_leaves(rank):
    x, block = data(rank), make(rank, dropout=0.5)
    inputs = keras.Input(SHAPES[rank])
    flat = keras.Model(inputs, block.call(inputs))
    names = {"depthwise", "pointwise", "normalization", "activation", "dropout"}
    assert {layer.name for layer in flat.layers} >= names
    assert block not in flat.layers
    np.testing.assert_array_equal(numpy(flat(x)), numpy(block(x)))
    assert np.abs(numpy(flat(x, training=True)) - numpy(flat(x))).max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 3}, r"`rank` must be 1 .* or 2 .* Received: rank=3"),
        ({"filters": 0}, r"`filters` must be an integer .* filters=0"),
        ({"dropout": -0.1}, r"`dropout` must be at least 0 .* dropout=-0\.1"),
        ({"momentum": 1}, r"`momentum` must be at least 0 and below 1\. .*=1"),
        ({"kernel_size": 0}, r"`kernel_size` must be an integer .* kernel_size=0"),
        ({"kernel_size": (3,)}, r"each of the rank=2 axes.* kernel_size=\(3,\)"),
        ({"kernel_size": (3, 0)}, r"each of the rank=2 axes.* kernel_size=\(3, 0\)"),
    ],
)
def test_rejects_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SeparableConvBlock(**arguments)


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        (
            {"filters": 6},
            (2, 5, 5, 4),
            r"input channels \(4\); set residual=False .* Received: filters=6",
        ),
        ({}, (2, 5, 4), r"With rank=2 .*height, width, .*input_shape=\(2, 5, 4\)"),
        ({"rank": 1}, (2, 4), r"With rank=1 .*length, .*input_shape=\(2, 4\)"),
        ({}, (2, 5, 5, None), r"known number of channels.*\(2, 5, 5, None\)"),
    ],
)
def test_rejects_inputs(arguments, shape, message):
    with pytest.raises(ValueError, match=message):
        SeparableConvBlock(**arguments).build(shape)


def test_example_runs():
    assert doctest.testmod(separable_conv) == (0, 4)


@pytest.mark.parametrize("rank", (1, 2))
def test_causal_padding_reads_nothing_later(rank):
    block = SeparableConvBlock(
        4, rank=rank, padding="causal", kernel_initializer="ones"
    )
    x = np.random.default_rng(0).normal(size=(*(1, 9, 5)[: rank + 1], 3))
    x = x.astype("float32")
    y = ops.convert_to_numpy(block(x))
    assert y.shape == x.shape
    x[:, 6:] += 1.0
    changed = ops.convert_to_numpy(block(x)) != y
    assert changed[:, 6:].any() and not changed[:, :6].any()
    again = SeparableConvBlock.from_config(block.get_config())
    again.build(x.shape)
    again.set_weights(block.get_weights())
    same, expected = (ops.convert_to_numpy(one(x)) for one in (again, block))
    np.testing.assert_array_equal(same, expected)


def test_causal_padding_leaves_a_mask_to_the_normalization():
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
    mask = np.arange(6)[None] < [[6], [3]]
    block = SeparableConvBlock(1, rank=1, padding="causal", momentum=0.0)
    means = []
    for padding in (0.0, 9.0):
        given = np.where(mask[..., None], x, padding).astype("float32")
        block(given, training=True, mask=ops.convert_to_tensor(mask))
        means.append(ops.convert_to_numpy(block.normalization.moving_mean))
    np.testing.assert_allclose(*means, rtol=1e-5)


def test_other_padding_is_an_error():
    with pytest.raises(ValueError, match=r"'same' or 'causal'.*'valid'"):
        SeparableConvBlock(padding="valid")
