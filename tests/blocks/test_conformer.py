import doctest
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import JIT

from keras_share.blocks import ConformerBlock, conformer

WIDTH, LENGTH, HEADS, HIDDEN, KERNEL = 8, 6, 2, 12, 3
FEEDFORWARD = ("norm", "intermediate", "intermediate_dropout", "output", "dropout")
SUBLAYERS = {
    *(f"feedforward_{n}_{part}" for n in (1, 2) for part in FEEDFORWARD),
    "attention_norm",
    "attention",
    "attention_dropout",
    "convolution_norm",
    "convolution_expansion",
    "convolution_depthwise",
    "convolution_batch_norm",
    "convolution_activation",
    "convolution_output",
    "convolution_dropout",
    "output_norm",
}


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(3, LENGTH, WIDTH)).astype("float32")


def make(**kwargs):
    """A built block whose every weight is random: ones and zeros hide mistakes."""
    block = ConformerBlock(HEADS, HIDDEN, **{"kernel_size": KERNEL, **kwargs})
    block.build((None, LENGTH, WIDTH))
    rng = np.random.default_rng(1)
    block.set_weights([rng.uniform(-0.5, 1, w.shape) ** 2 for w in block.get_weights()])
    return block


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def plain(block):
    """The same function, in plain Keras layers with weights of their own."""
    copies = []

    def copy(layer, source):
        copies.append((layer, source))
        return layer

    def half(x, sources):
        norm, intermediate, _, output, _ = sources
        x = copy(layers.LayerNormalization(), norm)(x)
        x = copy(layers.Dense(HIDDEN, "silu"), intermediate)(x)
        x = copy(layers.Dense(WIDTH), output)(x)
        return layers.Rescaling(0.5)(x)

    inputs = keras.Input((LENGTH, WIDTH))
    x = layers.Add()([inputs, half(inputs, block.feedforward_1)])
    y = copy(layers.LayerNormalization(), block.attention_norm)(x)
    attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)
    x = layers.Add()([x, copy(attention, block.attention)(y, y)])
    y = copy(layers.LayerNormalization(), block.convolution_norm)(x)
    y = copy(layers.Conv1D(2 * WIDTH, 1), block.convolution_expansion)(y)
    y = layers.Multiply()([y[..., :WIDTH], ops.sigmoid(y[..., WIDTH:])])
    depthwise = layers.DepthwiseConv1D(KERNEL, padding="same", use_bias=False)
    y = copy(depthwise, block.convolution_depthwise)(y)
    y = copy(layers.BatchNormalization(), block.convolution_batch_norm)(y)
    y = layers.Activation("silu")(y)
    y = copy(layers.Conv1D(WIDTH, 1), block.convolution_output)(y)
    x = layers.Add()([x, y])
    x = layers.Add()([x, half(x, block.feedforward_2)])
    outputs = copy(layers.LayerNormalization(), block.output_norm)(x)
    for layer, source in copies:
        values = zip(layer.get_weights(), source.get_weights(), strict=True)
        layer.set_weights([new.reshape(old.shape) for old, new in values])
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("kernel_size", [4, 31])
def test_keeps_the_shape(x, kernel_size):
    block = ConformerBlock(HEADS, HIDDEN, kernel_size)
    assert block.compute_output_shape(x.shape) == x.shape
    assert tuple(block(x).shape) == x.shape
    assert block(keras.Input((None, WIDTH))).shape == (None, None, WIDTH)


def test_number_of_weights():
    block = make()
    feedforward = WIDTH * HIDDEN + HIDDEN + HIDDEN * WIDTH + WIDTH
    attention = 4 * (WIDTH * WIDTH + WIDTH)
    pointwise = WIDTH * 2 * WIDTH + 2 * WIDTH + WIDTH * WIDTH + WIDTH
    depthwise = KERNEL * WIDTH
    batch_norm, layer_norms = 4 * WIDTH, 5 * 2 * WIDTH
    assert block.count_params() == (
        2 * feedforward + attention + pointwise + depthwise + batch_norm + layer_norms
    )
    assert len(block.weights) - len(block.trainable_weights) == 2


@pytest.mark.parametrize("training", [False, True])
def test_equals_plain_keras(x, training):
    block = make()
    expected = numpy(plain(block)(x, training=training))
    np.testing.assert_allclose(
        numpy(block(x, training=training)), expected, rtol=1e-5, atol=1e-5
    )


def test_config_round_trip():
    arguments = {
        "num_heads": 4,
        "intermediate_dim": 10,
        "kernel_size": 7,
        "dropout": 0.25,
        "activation": "gelu",
        "padding": "causal",
        "window": 5,
        "name": "mine",
        "dtype": "mixed_bfloat16",
    }
    block = ConformerBlock(**arguments)
    config = block.get_config()
    assert arguments.keys() <= config.keys()
    clone = keras.layers.deserialize(keras.layers.serialize(block))
    assert type(clone) is ConformerBlock
    assert clone.get_config() == config
    assert clone.activation is keras.activations.gelu


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_keras_file_is_exact(x, tmp_path, kind):
    block = make(dropout=0.1)
    inputs = keras.Input((LENGTH, WIDTH))
    if kind == "functional":
        model = keras.Model(inputs, block(inputs))
    else:
        model = keras.Sequential([inputs, block])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(numpy(loaded(x)), numpy(model(x)))


def test_every_weight_trains(x):
    block = ConformerBlock(HEADS, HIDDEN, KERNEL)
    model = keras.Sequential([keras.Input((LENGTH, WIDTH)), block])
    before = [numpy(v) for v in block.weights]
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=not JIT)
    model.fit(x, x[::-1], verbose=0)
    still = [
        v.path
        for v, old in zip(block.weights, before, strict=True)
        if np.abs(numpy(v) - old).max() < 1e-6
    ]
    # The softmax is blind to what all keys have in common.
    assert [path.split("/")[-3:] for path in still] == [["attention", "key", "bias"]]


def test_dropout_acts_in_training_only(x):
    block = make(dropout=0.5)
    np.testing.assert_array_equal(numpy(block(x)), numpy(block(x, training=False)))
    first, second = (numpy(block(x, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(x, policy):
    block = make(dtype=policy)
    assert keras.backend.standardize_dtype(block(x).dtype) == policy[6:]
    assert {v.dtype for v in block.weights} == {"float32"}
    result = numpy(ops.cast(block(x), "float32"))
    np.testing.assert_allclose(result, numpy(make()(x)), atol=0.1)


@pytest.mark.parametrize("training", [False, True])
def test_padding_does_not_reach_the_rest(x, training):
    block = make()
    mask = np.arange(LENGTH) < np.full((3, 1), 4)
    other = np.where(mask[..., None], x, x + 3)
    results = [
        numpy(block(x, padding_mask=mask, training=training)),
        numpy(block(other, padding_mask=mask, training=training)),
        numpy(block(x, mask=mask, training=training)),
        numpy(block(x[:, :4], training=training)),
    ]
    for result in results[1:]:
        np.testing.assert_allclose(result[:, :4], results[0][:, :4], 1e-4, 1e-5)
    unmasked = numpy(block(x, training=training))
    assert np.abs(unmasked[:, :4] - results[0][:, :4]).max() > 1e-3


@pytest.mark.parametrize("training", [False, True])
def test_causal_positions_see_the_past_alone(x, training):
    block = make(padding="causal", window=2, kernel_size=2)
    mask = np.arange(LENGTH) < np.full((3, 1), 4)
    expected = numpy(block(x[:, :4], training=training))
    later = np.where(mask[..., None], x, x + 3)
    found = numpy(block(later, mask=mask, training=training))
    np.testing.assert_allclose(found[:, :4], expected, 1e-4, 1e-5)
    # Two positions for each module that looks back.
    before = numpy(block(x))
    x[:, 0, 0] += 1
    changed = np.abs(numpy(block(x)) - before).max(axis=(0, 2)) > 1e-5
    assert changed.tolist() == [True, True, True, False, False, False]


def test_mask_of_keras_goes_through_a_stack():
    model = keras.Sequential(
        [
            layers.Embedding(10, WIDTH, mask_zero=True),
            make(),
            make(),
            layers.GlobalAveragePooling1D(),
        ]
    )
    tokens = np.array([[3, 1, 4], [1, 5, 9]])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        padded = numpy(model(np.pad(tokens, ((0, 0), (0, 2)))))
    np.testing.assert_allclose(padded, numpy(model(tokens)), rtol=1e-5, atol=1e-5)


def test_traces_to_its_leaves(x):
    block = make(dropout=0.5)
    inputs = keras.Input((LENGTH, WIDTH))
    mask = keras.Input((LENGTH,), dtype="bool")
    flat = keras.Model(inputs, block.call(inputs))
    assert {layer.name for layer in flat.layers} >= SUBLAYERS
    assert block not in flat.layers
    np.testing.assert_array_equal(numpy(flat(x)), numpy(block(x)))
    assert np.abs(numpy(flat(x, training=True)) - numpy(flat(x))).max() > 1e-3

    padding = np.arange(LENGTH) < np.full((3, 1), 4)
    flat = keras.Model([inputs, mask], block.call(inputs, padding_mask=mask))
    np.testing.assert_array_equal(
        numpy(flat([x, padding])), numpy(block(x, padding_mask=padding))
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_heads": 0}, r"`num_heads` must be an integer .* num_heads=0"),
        ({"intermediate_dim": 1.5}, r"`intermediate_dim` must .*intermediate_dim=1\.5"),
        ({"kernel_size": 0}, r"`kernel_size` must be an integer .* kernel_size=0"),
        ({"dropout": 1}, r"`dropout` must be at least 0 .* dropout=1"),
        ({"momentum": 1}, r"`momentum` must be at least 0 and below 1\. .*=1"),
        ({"padding": "valid"}, r"`padding` must be 'same' or 'causal'. .*='valid'"),
        ({"padding": "causal"}, r"`window` goes with padding='causal'.*window=None"),
        ({"padding": "causal", "window": 0}, r"`window` must be an integer .*window=0"),
        ({"window": 3}, r"`window` goes with padding='causal'.*='same', window=3"),
    ],
)
def test_rejects_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConformerBlock(**{"num_heads": 2, "intermediate_dim": 8, **arguments})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 8), r"the width of the input \(8\), as 2 does\. .* num_heads=3"),
        ((2, 8), r"must have the shape \(batch, length, width\).*input_shape=\(2, 8\)"),
    ],
)
def test_rejects_inputs(shape, message):
    with pytest.raises(ValueError, match=message):
        ConformerBlock(3, 8).build(shape)


def test_example_runs():
    assert doctest.testmod(conformer) == (0, 4)
