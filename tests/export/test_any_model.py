"""Models that people have, tiny and with random weights."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_share import (
    SharedStack,
    export_tflite,
    find_sites,
    quantize_model,
    share,
    untie,
)

hub = pytest.importorskip("keras_hub")

SIZES = {"num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
HEADS = {"num_query_heads": 2, "num_key_value_heads": 1}


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


def gpt2():
    return hub.models.GPT2Backbone(20, 2, 2, 16, 32, max_sequence_length=8)


def llama():
    return hub.models.LlamaBackbone(20, 2, 2, 16, 32, 1)


def vit():
    # Untrained, its class token is next to nothing beside the patches whose range it
    # has; how much a step of it matters depends on the other weights.
    keras.utils.set_random_seed(1)
    return hub.models.ViTBackbone(
        (8, 8, 3), patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16
    )


def randomized(model):
    rng = np.random.default_rng(0)
    for v in model.weights:
        v.assign(v + rng.normal(scale=0.1, size=v.shape).astype("float32"))
    return model


def samples(model, length=6):
    rng = np.random.default_rng(1)

    def sample(x):
        shape = (8, *(size or length for size in x.shape[1:]))
        if "mask" in x.name:
            return (np.arange(length) < rng.integers(3, 7, (8, 1))).astype(x.dtype)
        if "int" in x.dtype:
            return rng.integers(1, 20, shape).astype(x.dtype)
        return rng.normal(size=shape).astype(x.dtype)

    return keras.tree.map_structure(sample, model.input)


def ratio(expected, actual):
    """Signal to noise, in decibels."""
    error = np.square(expected - actual).sum()
    return 10 * np.log10(np.square(expected).sum() / error)


@pytest.mark.parametrize("make", [gpt2, llama, vit])
@pytest.mark.filterwarnings("ignore:Parts of the model stay in float")
@pytest.mark.filterwarnings("ignore:The file takes inputs of these sizes only")
def test_models_are_shared_quantized_and_exported(make, tmp_path):
    model = randomized(make())
    x = samples(model)
    expected = np.asarray(model(x))
    sites = find_sites(model)
    assert sites.groupby("kind").site.nunique().tolist() == [2]
    untied = untie(share(model, "unshared"))
    np.testing.assert_array_equal(untied(x), expected)
    tied = share(model, "shared")
    saved = model.count_params() - tied.count_params()
    assert saved > sites.params.sum() / 2.5  # all of a block but its normalization
    path = tmp_path / "model.tflite"
    report = export_tflite(tied, path, representative_dataset=x)
    assert report.agreement[0].largest < 1e-4 and not report.untied
    if make is vit:
        quantized = quantize_model(model, x)
        assert ratio(expected, np.asarray(quantized(x))) > 20
        report = export_tflite(quantized, path, representative_dataset=x)
        assert report.float_operators == {}


@pytest.mark.parametrize("make", [gpt2, llama])
def test_decoders_of_a_known_length_are_integers(make, tmp_path):
    """Untrained, with kernels that are equal and scales that are one."""
    backbone = make()
    inputs = keras.tree.map_structure(
        lambda x: keras.Input((6,), dtype=x.dtype, name=x.name), backbone.input
    )
    model = keras.Model(inputs, backbone(inputs))
    x, path = samples(model), tmp_path / "model.tflite"
    quantized = quantize_model(model, x, strict=True)
    report = export_tflite(quantized, path, representative_dataset=x)
    assert report.float_operators == {}
    assert report.agreement[0].ratio > 25


class Own(keras.Model):
    """A subclassed model that holds equal layers in a list."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stages = [layers.Dense(8, "relu") for _ in range(3)]
        self.head = layers.Dense(2)

    def build(self, shape):
        for layer in (*self.stages, self.head):
            layer.build((None, 8))

    def call(self, x):
        for layer in self.stages:
            x = layer(x) + x
        return self.head(x)


def test_a_subclassed_model_has_sites():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, Own(name="own")(inputs))
    assert len(find_sites(model)) == 3
    shared = share(model, "shared")
    assert shared.count_params() == 8 * 8 + 8 + 8 * 2 + 2
    x = np.random.default_rng(0).normal(size=(4, 8)).astype("float32")
    np.testing.assert_array_equal(untie(share(model, "unshared"))(x), model(x))


def test_a_model_that_shares_already_is_told_so():
    dense = layers.Dense(4, name="one")
    x = keras.Input((4,))
    model = keras.Model(x, dense(dense(x)))
    with pytest.raises(ValueError, match="shares already: it uses the layer 'one' 2"):
        share(model, "shared")


class Gain(layers.Layer):
    def build(self, shape):
        self.gain = self.add_weight(shape[-1:], "random_normal", name="gain")

    def call(self, x):
        return x * self.gain


class Gained(Gain):
    """A gain beside a kernel, in one layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(16, name="dense")

    def build(self, shape):
        super().build(shape)
        self.dense.build(shape)

    def call(self, x):
        return self.dense(super().call(x))


def gain_before():
    return keras.Sequential([Gain(name="gain"), layers.Dense(16)], name="block")


@pytest.mark.parametrize("block", [gain_before, Gained])
def test_private_weights_that_multiply_dont_fold_into_a_kernel(block, tmp_path):
    stack = SharedStack(block(), "AAA", private="gain")
    model = keras.Sequential([keras.Input((16,)), stack])
    assert model.count_params() == 16 * 16 + 16 + 3 * 16
    report = export_tflite(model, tmp_path / "model.tflite")
    assert [b.uses for b in report.buffers if b.shape == (16, 16)] == [3]


class Refuses(layers.Layer):
    """Runs on real tensors only, in a class that can't be copied."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.dense, self.hidden = layers.Dense(units), units + 1

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x) * keras.ops.convert_to_numpy(1.0)

    def get_config(self):
        raise NotImplementedError


def test_what_cant_be_rebuilt_is_exported_as_it_is(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), Refuses(4)])

    def fails(*args, **kwargs):
        raise TypeError("it can't.")

    monkeypatch.setattr("keras_share.export.ways.inference_model", fails)
    with pytest.warns(UserWarning, match="as Keras's own export does: it can't."):
        report = export_tflite(model, tmp_path / "model.tflite")
    assert report.agreement[0].largest < 1e-4


def test_a_mistake_of_ours_is_no_warning(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
    monkeypatch.setattr("keras_share.export.inference.flatten", None)
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        export_tflite(model, tmp_path / "model.tflite")


def test_products_in_own_activations_dont_fold_into_a_kernel(tmp_path):
    dense = layers.Dense(16, activation=lambda x: x * 0.5)
    model = keras.Sequential([keras.Input((16,)), SharedStack(dense, "AAA")])
    report = export_tflite(model, tmp_path / "model.tflite")
    assert [b.uses for b in report.buffers if b.shape == (16, 16)] == [3]
