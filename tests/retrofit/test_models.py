"""`find_sites`, `share` and `untie` on models that others wrote."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values

from keras_share.retrofit.find_sites import find_sites
from keras_share.retrofit.share import share
from keras_share.retrofit.untie import untie


def mobilenet():
    return keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), alpha=0.35, weights=None, include_top=False
    )


def efficientnet():
    return keras.applications.EfficientNetB0(
        input_shape=(32, 32, 3), weights=None, include_top=False
    )


def convnext():
    return keras.applications.ConvNeXtTiny(
        input_shape=(32, 32, 3), weights=None, include_top=False
    )


def bert():
    hub = pytest.importorskip("keras_hub")
    return hub.models.BertBackbone(
        vocabulary_size=30,
        num_layers=12,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=8,
    )


def recurrent(cls):
    model = keras.Sequential([keras.Input((5, 8))])
    for i in range(4):
        model.add(cls(8, return_sequences=True, name=f"layer_{i}"))
        model.add(layers.Dropout(0.1 * i))
    return model


# How to make it; numbers of sites of each kind, by the name of its first layer; layers
# of a site.
MODELS = {
    "mobilenet": (
        mobilenet,
        {"block_4": 2, "block_7": 3, "block_11": 2, "block_14": 2},
        6,
    ),
    "bert": (bert, {"transformer_layer_0": 12}, 1),
    "lstm": (lambda: recurrent(layers.LSTM), {"layer_0": 4}, 1),
    "gru": (lambda: recurrent(layers.GRU), {"layer_0": 4}, 1),
    "efficientnet": (efficientnet, {"block4b": 2, "block5b": 2, "block6b": 3}, 8),
    "convnext": (
        convnext,
        {f"convnext_tiny_stage_{i}": n for i, n in enumerate((3, 3, 9, 3))},
        5,
    ),
}
# The others are too slow to go through all of it in each run.
SMALL = ("mobilenet", "bert", "lstm", "gru")


def data(model):
    return keras.tree.map_structure(
        lambda x: (
            np.abs(values(2, *(n or 8 for n in x.shape[1:])))
            if "float" in x.dtype
            else np.ones((2, 8), "int32")
        ),
        model.inputs[0] if isinstance(model, keras.Sequential) else model.input,
    )


def outputs(model, x):
    flat = keras.tree.flatten(model(x, training=False))
    return [ops.convert_to_numpy(y) for y in flat]


def assert_same_outputs(a, b, x):
    for one, other in zip(outputs(a, x), outputs(b, x), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module", params=MODELS)
def case(request):
    make, sites, size = MODELS[request.param]
    model = make()
    if request.param in SMALL:
        randomize(model)
    return model, sites, size, share(model, "shared")


def test_repeated_blocks_are_found(case):
    model, expected, size, _ = case
    table = find_sites(model)
    found = table.groupby("kind", sort=False)["site"].max() + 1
    for (kind, number), start in zip(found.items(), expected, strict=True):
        assert kind.startswith(start)
        assert number == expected[start]
    assert set(table.groupby(["kind", "site"]).size()) == {size}


def test_number_of_parameters(case):
    model, _, _, shared = case
    table = find_sites(model)
    norm = table["class"].str.endswith("Normalization")
    saved = table[~norm & (table["site"] > 0)]["params"].sum()
    if model.name == "bert_backbone":
        saved -= 11 * 2 * (2 * 16)  # two private normalizations in each layer
    assert shared.count_params() == model.count_params() - saved


@pytest.mark.parametrize("case", SMALL, indirect=True)
def test_trains_saves_and_unties(case, tmp_path):
    model, _, _, shared = case
    x = data(shared)
    y = shared(x, training=False)
    shared.compile(keras.optimizers.SGD(1e-6), "mse", run_eagerly=True)
    assert np.isfinite(shared.train_on_batch(x, y)).all()

    shared.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.count_params() == shared.count_params()
    assert_same_outputs(loaded, shared, x)

    untied = untie(shared)
    assert untied.count_params() == model.count_params()
    assert_same_outputs(untied, shared, x)


@pytest.mark.parametrize("case", SMALL, indirect=True)
def test_unshared_is_the_model(case):
    model, *_ = case
    same = untie(share(model, "unshared"))
    assert_same_outputs(same, model, data(model))
    for a, b in zip(same.weights, model.weights, strict=True):
        assert a.path == b.path
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))
