"""Inputs of all kinds: integers, tables of them, open lengths, and what can't be."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from older_keras import newer_only

from keras_share import export_tflite, predict_tflite, quantize_model


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


class Places(layers.Layer):
    """Adds the same channels to each image."""

    def call(self, x):
        [rows, columns] = x.shape[1:3]
        lines = np.linspace(-1, 1, rows * columns, dtype="float32")
        lines = lines.reshape(1, rows, columns, 1)
        lines = ops.broadcast_to(lines, (ops.shape(x)[0], rows, columns, 1))
        return ops.concatenate([x, lines], axis=-1)


def mixed():
    """Words by number, tags, an image of bytes, a choice; gives classes, too."""
    words = keras.Input((3,), dtype="int64", name="words")
    tags = keras.Input((4,), dtype="int32", name="tags")
    image = keras.Input((7, 6, 2), dtype="uint8", name="image")
    seen = keras.Input((3,), dtype="bool", name="seen")
    x = layers.IntegerLookup(vocabulary=[3, 5, 900], mask_token=0)(words)
    x = layers.Embedding(5, 4)(x)
    x = ops.sum(x * ops.expand_dims(ops.cast(seen, "float32"), -1), axis=1)
    y = layers.CategoryEncoding(6, output_mode="multi_hot")(tags)
    z = layers.Rescaling(1 / 255)(image)
    z = ops.image.extract_patches(z, (3, 2), strides=2, padding="same")
    z = layers.Conv2D(4, 1)(z)
    scores = layers.Dense(5)(ops.concatenate([x, y, ops.max(z, (1, 2))], axis=-1))
    outputs = {"scores": scores, "best": ops.argmax(z, -1), "least": ops.argmin(z, 2)}
    rng = np.random.default_rng(0)
    return keras.Model([words, tags, image, seen], outputs), {
        "words": rng.choice([0, 3, 5, 900, 7], (16, 3)),
        "tags": rng.integers(0, 6, (16, 4)).astype("int32"),
        "image": rng.integers(0, 256, (16, 7, 6, 2)).astype("uint8"),
        "seen": rng.random((16, 3)) < 0.5,
    }


@newer_only
@pytest.mark.filterwarnings("ignore:Parts of the model stay in float")
def test_integers_become_numbers(tmp_path):
    model, x = mixed()
    path = tmp_path / "model.tflite"
    export_tflite(model, path, representative_dataset=x)
    y, expected = predict_tflite(path, x), model(x)
    np.testing.assert_allclose(y["scores"], expected["scores"], atol=1e-5)
    np.testing.assert_array_equal(y["best"], expected["best"])
    report = export_tflite(
        model, path, quantization="int8", representative_dataset=x, strict=False
    )
    assert report.float_operators == {"CAST": 1}  # of the image
    error = predict_tflite(path, x)["scores"] - expected["scores"]
    assert np.square(expected["scores"]).sum() > 10**2.5 * np.square(error).sum()


def test_constants_beside_a_tensor_are_those_of_each_sample():
    x = keras.Input((4, 3, 2))
    model = keras.Model(x, layers.Conv2D(3, 1)(Places()(x)))
    images = np.random.default_rng(0).normal(size=(5, 4, 3, 2)).astype("float32")
    expected, y = model(images), quantize_model(model, images)(images)
    np.testing.assert_allclose(y, expected, atol=0.05)


def masked_by_large_numbers(x, mask):
    scores = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
    scores = scores + (1.0 - ops.cast(mask, "float32")[:, None]) * -1e9
    scores = ops.where(np.tri(6, dtype=bool), scores, -1e4)
    return ops.matmul(ops.softmax(scores), x)


@pytest.mark.parametrize("dtype", ["bool", "int32"])
def test_large_numbers_that_mask_are_truths(dtype):
    x, mask = keras.Input((6, 8)), keras.Input((6,), dtype=dtype)
    y = masked_by_large_numbers(layers.Dense(8)(x), mask)
    model = keras.Model([x, mask], layers.Dense(3)(y))
    rng = np.random.default_rng(0)
    seen = (np.arange(6) < rng.integers(1, 7, (16, 1))).astype(dtype)
    x = [rng.normal(size=(16, 6, 8)).astype("float32"), seen]
    quantized = quantize_model(model, x, strict=True)
    expected, y = (np.asarray(m(x)) for m in (model, quantized))
    assert np.square(expected).sum() > 10**2.5 * np.square(y - expected).sum()


def test_an_open_length_is_that_of_the_samples_where_it_must_be_known(tmp_path):
    embed = layers.Embedding(9, 4, mask_zero=True)
    x = keras.Input((None,), dtype="int32", name="x")
    model = keras.Model(x, layers.Dense(2)(layers.LSTM(4)(embed(x))))
    rows = np.random.default_rng(0).integers(0, 9, (8, 1, 6))
    rows = [*rows, rows[0, :, :4]]
    message = r"model takes inputs of these sizes only: \{'x': \(6,\)\}"
    with pytest.warns(UserWarning, match=message):
        quantized = quantize_model(model, lambda: rows)
    assert quantized.inputs[0].shape == (None, 6)
    path = tmp_path / "model.tflite"
    with pytest.warns(UserWarning, match=message):
        report = export_tflite(
            model, path, quantization="int8", representative_dataset=lambda: rows
        )
    assert report.float_operators == {}


def test_an_open_size_stays_open_where_it_need_not_be_known():
    x = keras.Input((None, None, 3))
    model = keras.Model(x, layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3)(x)))
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3))
    assert quantize_model(model, images).inputs[0].shape == x.shape


def ragged():
    x = keras.Input((None, 4), ragged=True)
    return keras.Model(x, layers.Dense(2)(x))


def hashed():
    x = keras.Input((1,), dtype="int64")
    return keras.Model(x, layers.Embedding(8, 2)(layers.Hashing(8, name="hash")(x)))


def keeping():
    x = keras.Input(batch_shape=(1, 4, 2))
    return keras.Model(x, layers.LSTM(3, stateful=True, name="rnn")(x))


def mixing():
    x = keras.Input((4,))
    y = layers.Dense(4)(x)
    return keras.Model(x, y - ops.mean(y, axis=0, keepdims=True), name="mixing")


@pytest.mark.parametrize("make", [ragged, hashed])
def test_nor_can_it_be_quantized(make):
    with pytest.raises(ValueError, match=r"must take dense|operator that hashes"):
        quantize_model(make())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (ragged, "must take dense arrays, padded .* the ragged input"),
        (hashed, "no operator that hashes: leave .* the layer 'hash'"),
        (keeping, "begins each call with the same states.* 'rnn'.*stateful=False"),
        (mixing, "Each sample must be computed alone.*'mixing', which mixes"),
    ],
)
def test_what_no_file_can_be_is_told(make, message, tmp_path):
    model, path = make(), tmp_path / "model.tflite"
    x = np.ones((2, 4), "float32") * [[1], [2]] if make is mixing else None
    with pytest.raises(ValueError, match=message):
        export_tflite(model, path, representative_dataset=x)
    assert not path.exists()
