import doctest

import keras
import numpy as np
import pytest
from keras import ops
from random_data import values

from keras_share.blocks import WindowedAttention, windowed_attention

WIDTH, LENGTH, HEADS = 8, 7, 2


def make(window=3, **kwargs):
    """A built layer whose every weight is random: zeros hide mistakes."""
    layer = WindowedAttention(HEADS, window, **kwargs)
    layer.build((None, LENGTH, WIDTH))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.uniform(-1, 1, w.shape) for w in layer.get_weights()])
    return layer


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def by_hand(layer, x):
    """The same, frame by frame and head by head."""
    window, size = layer.window, WIDTH // HEADS
    query, key, value = (
        x @ numpy(part.kernel) + numpy(part.bias)
        for part in (layer.query, layer.key, layer.value)
    )
    key, value = (np.pad(y, [(0, 0), (window - 1, 0), (0, 0)]) for y in (key, value))
    found = np.zeros_like(query)
    for sample, frame, head in np.ndindex(len(x), x.shape[1], HEADS):
        part = slice(head * size, (head + 1) * size)
        seen = slice(frame, frame + window)
        scores = key[sample, seen, part] @ query[sample, frame, part] / size**0.5
        weights = np.exp(scores) / np.exp(scores).sum()
        found[sample, frame, part] = weights @ value[sample, seen, part]
    output = layer.attention_output
    return found @ numpy(output.kernel) + numpy(output.bias)


@pytest.mark.parametrize("window", [1, 3, LENGTH, LENGTH + 2])
def test_equals_attention_by_hand(window):
    layer, x = make(window), values(2, LENGTH, WIDTH)
    np.testing.assert_allclose(numpy(layer(x)), by_hand(layer, x), atol=1e-5)
    inputs = keras.Input((None, WIDTH))
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, WIDTH)
    np.testing.assert_allclose(numpy(model(x)), by_hand(layer, x), atol=1e-5)


def test_a_frame_sees_its_window_and_nothing_else():
    layer, x = make(3), values(1, LENGTH, WIDTH)
    before = numpy(layer(x))
    for frame in range(LENGTH):
        other = x.copy()
        other[:, frame] += 1
        changed = np.abs(numpy(layer(other)) - before).max(axis=(0, 2)) > 1e-4
        assert set(np.flatnonzero(changed)) == set(range(frame, min(frame + 3, LENGTH)))


def test_what_a_mask_leaves_out_is_zeros_before_the_first_frame():
    layer, x = make(4), values(2, LENGTH, WIDTH)
    mask = np.arange(LENGTH) >= np.full((2, 1), 3)
    found = numpy(layer(x, mask=mask))[:, 3:]
    np.testing.assert_allclose(found, numpy(layer(x[:, 3:])), atol=1e-5)


def test_config_and_file(tmp_path):
    layer = make(dropout=0.25, seed=3, name="mine")
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert copy.get_config() == layer.get_config()
    assert (copy.num_heads, copy.window, copy.dropout) == (HEADS, 3, 0.25)
    model = keras.Sequential([keras.Input((LENGTH, WIDTH)), layer])
    model.save(tmp_path / "model.keras")
    loaded, x = keras.models.load_model(tmp_path / "model.keras"), values(2, LENGTH, 8)
    np.testing.assert_array_equal(numpy(loaded(x)), numpy(model(x)))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    layer, x = make(dtype=policy), values(2, LENGTH, WIDTH)
    assert keras.backend.standardize_dtype(layer(x).dtype) == policy[6:]
    assert {v.dtype for v in layer.weights} == {"float32"}
    result = numpy(ops.cast(layer(x), "float32"))
    np.testing.assert_allclose(result, numpy(make()(x)), atol=0.2)


def test_every_weight_trains():
    x = values(4, LENGTH, WIDTH)
    layer = make()
    model = keras.Sequential([keras.Input((LENGTH, WIDTH)), layer])
    before = layer.get_weights()
    model.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=False)
    model.fit(x, x[::-1], verbose=0)
    for old, new in zip(before, layer.get_weights(), strict=True):
        assert np.abs(new - old).max() > 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_heads": 0}, r"`num_heads` must be an integer .* num_heads=0"),
        ({"window": 2.5}, r"`window` must be an integer .* window=2\.5"),
        ({"dropout": 1}, r"`dropout` must be at least 0 .* dropout=1"),
    ],
)
def test_rejects_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        WindowedAttention(**{"num_heads": 2, "window": 3, **arguments})


def test_rejects_inputs():
    with pytest.raises(ValueError, match=r"divide the width of the input \(8\), as 2"):
        WindowedAttention(3, 2).build((2, 3, 8))


def test_example_runs():
    assert doctest.testmod(windowed_attention) == (0, 3)
