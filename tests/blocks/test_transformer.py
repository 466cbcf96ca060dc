import doctest

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import JIT

from keras_share.blocks import TransformerBlock, transformer

WIDTH, LENGTH, HEADS, HIDDEN = 8, 5, 2, 12
SUBLAYERS = {
    "attention",
    "attention_dropout",
    "attention_norm",
    "feedforward_intermediate",
    "feedforward_output",
    "feedforward_dropout",
    "feedforward_norm",
}


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(3, LENGTH, WIDTH)).astype("float32")


def make(**kwargs):
    """A built block whose every weight is random: ones and zeros hide mistakes."""
    block = TransformerBlock(HEADS, HIDDEN, **kwargs)
    block.build((None, LENGTH, WIDTH))
    rng = np.random.default_rng(1)
    block.set_weights(
        [rng.normal(scale=0.5, size=w.shape) for w in block.get_weights()]
    )
    return block


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def plain(block, normalize_first):
    """The same function, in plain Keras layers with weights of their own."""
    parts = {
        "attention": layers.MultiHeadAttention(HEADS, WIDTH // HEADS),
        "attention_norm": layers.LayerNormalization(epsilon=1e-5),
        "feedforward_intermediate": layers.Dense(HIDDEN, "relu"),
        "feedforward_output": layers.Dense(WIDTH),
        "feedforward_norm": layers.LayerNormalization(epsilon=1e-5),
    }
    inputs = keras.Input((LENGTH, WIDTH))
    if normalize_first:
        x = parts["attention_norm"](inputs)
        attended = layers.Add()([inputs, parts["attention"](x, x)])
        x = parts["feedforward_norm"](attended)
        x = parts["feedforward_output"](parts["feedforward_intermediate"](x))
        outputs = layers.Add()([attended, x])
    else:
        x = parts["attention"](inputs, inputs)
        attended = parts["attention_norm"](layers.Add()([inputs, x]))
        x = parts["feedforward_output"](parts["feedforward_intermediate"](attended))
        outputs = parts["feedforward_norm"](layers.Add()([attended, x]))
    for name, layer in parts.items():
        layer.set_weights(getattr(block, name).get_weights())
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("shape", [(2, 7, 8), (1, 1, 16)])
def test_keeps_the_shape(shape):
    block = TransformerBlock(2, 12)
    assert block.compute_output_shape(shape) == shape
    assert tuple(block(np.zeros(shape, "float32")).shape) == shape
    assert block(keras.Input((None, shape[-1]))).shape == (None, None, shape[-1])


def test_number_of_weights():
    block = make()
    projections = 4 * (WIDTH * WIDTH + WIDTH)
    dense = WIDTH * HIDDEN + HIDDEN + HIDDEN * WIDTH + WIDTH
    norms = 2 * 2 * WIDTH
    assert block.count_params() == projections + dense + norms
    assert len(block.trainable_weights) == len(block.weights) == 8 + 4 + 4


def test_same_sized_kernels_start_different():
    block = TransformerBlock(2, 8, kernel_initializer=keras.initializers.HeNormal())
    block.build((None, 5, 8))
    first, second = block.feedforward_intermediate, block.feedforward_output
    assert not np.array_equal(numpy(first.kernel), numpy(second.kernel))


@pytest.mark.parametrize("normalize_first", [False, True])
def test_equals_plain_keras(x, normalize_first):
    block = make(normalize_first=normalize_first, dropout=0.1)
    expected = plain(block, normalize_first)(x)
    np.testing.assert_allclose(numpy(block(x)), numpy(expected), rtol=1e-5, atol=1e-6)


def test_config_round_trip():
    arguments = {
        "num_heads": 4,
        "intermediate_dim": 10,
        "dropout": 0.25,
        "activation": "gelu",
        "layer_norm_epsilon": 1e-3,
        "kernel_initializer": keras.initializers.HeNormal(seed=3),
        "bias_initializer": "ones",
        "normalize_first": True,
        "name": "mine",
        "dtype": "mixed_bfloat16",
    }
    block = TransformerBlock(**arguments)
    config = block.get_config()
    assert arguments.keys() <= config.keys()
    clone = keras.layers.deserialize(keras.layers.serialize(block))
    assert type(clone) is TransformerBlock
    assert clone.get_config() == config
    assert clone.kernel_initializer.seed == 3
    assert clone.activation is keras.activations.gelu
    assert clone.normalize_first is True


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_keras_file_is_exact(x, tmp_path, kind):
    blocks = [make(), make(normalize_first=True, dropout=0.1)]
    inputs = keras.Input((LENGTH, WIDTH))
    if kind == "functional":
        model = keras.Model(inputs, blocks[1](blocks[0](inputs)))
    else:
        model = keras.Sequential([inputs, *blocks])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(numpy(loaded(x)), numpy(model(x)))


@pytest.mark.parametrize("normalize_first", [False, True])
def test_every_weight_trains(x, normalize_first):
    block = TransformerBlock(HEADS, HIDDEN, normalize_first=normalize_first)
    model = keras.Sequential([keras.Input((LENGTH, WIDTH)), block])
    before = [numpy(v) for v in block.trainable_variables]
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=not JIT)
    model.fit(x, x[::-1], verbose=0)
    still = [
        v.path
        for v, old in zip(block.trainable_variables, before, strict=True)
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
    expected = make()(x)
    np.testing.assert_allclose(
        numpy(ops.cast(block(x), "float32")), numpy(expected), atol=0.1
    )


@pytest.mark.parametrize("normalize_first", [False, True])
def test_padding_does_not_reach_the_rest(x, normalize_first):
    block = make(normalize_first=normalize_first)
    mask = np.array([[1, 1, 1, 0, 0]] * 3, "bool")
    other = np.where(mask[..., None], x, x + 3)
    result, again = (numpy(block(v, padding_mask=mask)) for v in (x, other))
    np.testing.assert_allclose(result[:, :3], again[:, :3], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        result[:, :3], numpy(block(x[:, :3])), rtol=1e-5, atol=1e-6
    )
    assert np.abs(numpy(block(x))[:, :3] - result[:, :3]).max() > 1e-3


def test_attention_mask(x):
    block = make()
    causal = np.tril(np.ones((1, LENGTH, LENGTH), "bool"))
    result = numpy(block(x, attention_mask=causal))
    np.testing.assert_allclose(
        result[:, :2], numpy(block(x[:, :2], attention_mask=causal[:, :2, :2])), 1e-4
    )


def test_masks_combine(x):
    block = make()
    padding = np.array([[1, 1, 1, 1, 0]] * 3)
    causal = np.tril(np.ones((LENGTH, LENGTH), "int32"))
    both = block(x, padding_mask=padding, attention_mask=causal)
    merged = block(x, attention_mask=causal * padding[:, None, :])
    np.testing.assert_allclose(numpy(both), numpy(merged), rtol=1e-6)


@pytest.mark.parametrize("normalize_first", [False, True])
def test_mask_of_keras_goes_through_a_stack(normalize_first):
    model = keras.Sequential(
        [
            layers.Embedding(10, WIDTH, mask_zero=True),
            make(normalize_first=normalize_first),
            make(normalize_first=normalize_first),
            layers.GlobalAveragePooling1D(),
        ]
    )
    tokens = np.array([[3, 1, 4], [1, 5, 9]])
    padded = np.pad(tokens, ((0, 0), (0, 2)))
    np.testing.assert_allclose(
        numpy(model(padded)), numpy(model(tokens)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("normalize_first", [False, True])
def test_traces_to_its_leaves(x, normalize_first):
    block = make(normalize_first=normalize_first, dropout=0.5)
    inputs = keras.Input((LENGTH, WIDTH))
    mask = keras.Input((LENGTH,), dtype="bool")
    flat = keras.Model(inputs, block.call(inputs))
    assert {layer.name for layer in flat.layers} >= SUBLAYERS
    assert block not in flat.layers
    np.testing.assert_array_equal(numpy(flat(x)), numpy(block(x)))
    assert np.abs(numpy(flat(x, training=True)) - numpy(flat(x))).max() > 1e-3

    padding = np.array([[1, 1, 1, 0, 0]] * 3, "bool")
    flat = keras.Model([inputs, mask], block.call(inputs, padding_mask=mask))
    np.testing.assert_array_equal(
        numpy(flat([x, padding])), numpy(block(x, padding_mask=padding))
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_heads": 0}, r"`num_heads` must be an integer .* num_heads=0"),
        ({"num_heads": 2.0}, r"`num_heads` must be an integer .* num_heads=2\.0"),
        ({"intermediate_dim": -1}, r"`intermediate_dim` must be .*intermediate_dim=-1"),
        ({"dropout": 1.0}, r"`dropout` must be at least 0 .* dropout=1\.0"),
        ({"dropout": "0.1"}, r"`dropout` must be at least 0 .* dropout='0\.1'"),
    ],
)
def test_rejects_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TransformerBlock(**{"num_heads": 2, "intermediate_dim": 8, **arguments})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 8), r"the width of the input \(8\), as 4 does\. .* num_heads=5"),
        ((2, 8), r"must have the shape \(batch, length, width\).*input_shape=\(2, 8\)"),
        ((2, 3, None), r"known width. Received: input_shape=\(2, 3, None\)"),
    ],
)
def test_rejects_inputs(shape, message):
    with pytest.raises(ValueError, match=message):
        TransformerBlock(5, 8).build(shape)


def test_example_runs():
    assert doctest.testmod(transformer) == (0, 4)
