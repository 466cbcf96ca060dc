import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import JIT, randomize, values

from keras_share.layers.embeddings import FactorizedEmbedding
from keras_share.layers.transposed import Transposed

IDS = np.array([[1, 2, 0], [6, 0, 0]], "int32")


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 2)])
def test_equals_a_table_and_a_dense_layer(shape, use_bias):
    layer = FactorizedEmbedding(7, 2, 5, use_bias=use_bias)
    ids = np.arange(np.prod(shape)).reshape(shape) % 7
    actual = layer(ids)
    table, kernel, *bias = (numpy(w) for w in layer.weights)
    expected = table[ids] @ kernel + sum(bias)
    np.testing.assert_allclose(numpy(actual), expected, atol=1e-6)
    assert layer.compute_output_shape(shape) == (*shape, 5)
    assert layer.count_params() == 7 * 2 + 2 * 5 + 5 * use_bias


def test_initializers_reach_the_sublayers():
    layer = FactorizedEmbedding(
        7, 2, 5, embeddings_initializer="ones", kernel_initializer="zeros"
    )
    layer.build((None, 3))
    assert numpy(layer.embedding.embeddings).min() == 1
    assert numpy(layer.projection.kernel).max() == 0


def test_masks_padding():
    layer = FactorizedEmbedding(7, 2, 5, mask_zero=True)
    x = layer(IDS)
    mean = numpy(layers.GlobalAveragePooling1D()(x))  # of what is not masked
    np.testing.assert_allclose(mean[0], numpy(x)[0, :2].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(mean[1], numpy(x)[1, 0], atol=1e-6)
    assert FactorizedEmbedding(7, 2, 5).compute_mask(IDS) is None


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_takes_large_ids_as_floats(policy):
    layer = FactorizedEmbedding(5000, 2, 5, dtype=policy)
    x = layer(np.array([[4097.0]], "float32"))
    assert keras.backend.standardize_dtype(x.dtype) == policy.removeprefix("mixed_")
    np.testing.assert_array_equal(
        numpy(ops.cast(x, "float32")),
        numpy(ops.cast(layer(np.array([[4097]])), "float32")),
    )


def test_config_round_trip():
    arguments = {
        "embeddings_initializer": "normal",
        "embeddings_regularizer": "l2",
        "kernel_initializer": "he_normal",
        "kernel_constraint": "non_neg",
    }
    layer = FactorizedEmbedding(
        7, 2, 5, True, False, name="words", dtype="float16", **arguments
    )
    copy = FactorizedEmbedding.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert copy.embedding.mask_zero and not copy.projection.use_bias
    copy.build((None, 3))
    table, kernel = copy.weights
    assert type(table.regularizer) is keras.regularizers.L2
    assert table.constraint is kernel.regularizer is None
    assert type(kernel.constraint) is keras.constraints.NonNeg


@pytest.mark.parametrize("back", ["own", "projection"])
def test_tied_head_round_trip(back, tmp_path):
    ids = keras.Input((3,), dtype="int32")
    words = FactorizedEmbedding(7, 2, 5, name="words")
    x = layers.Dense(5, "tanh")(words(ids))
    if back == "own":  # as in ALBERT
        x = layers.LayerNormalization()(layers.Dense(2, "gelu")(x))
    else:
        x = Transposed(words, "projection", use_bias=False)(x)
    model = randomize(keras.Model(ids, Transposed(words, "embedding")(x)))
    assert model.output.shape == (None, 3, 7)
    own = 12 + 4 if back == "own" else 0
    assert model.count_params() == 14 + 15 + 30 + own + 7

    model.compile("sgd", "mse", jit_compile=JIT)
    model.train_on_batch(IDS, values(2, 3, 7))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.count_params() == model.count_params()
    np.testing.assert_array_equal(numpy(model(IDS)), numpy(loaded(IDS)))


@pytest.mark.parametrize("name", ["vocabulary_size", "embedding_dim", "hidden_dim"])
@pytest.mark.parametrize("value", [0, -1, 2.5, None])
def test_errors(name, value):
    sizes = {"vocabulary_size": 7, "embedding_dim": 2, "hidden_dim": 5, name: value}
    with pytest.raises(ValueError, match=f"`{name}` must be an integer.*{name}="):
        FactorizedEmbedding(**sizes)
