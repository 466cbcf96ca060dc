"""Ties, through files, clones and configs."""

import copy
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from random_data import values
from tied_models import assert_equal, block, one_step, tied_model

from keras_share import Tied
from keras_share.layers import TiedCloner


def saved_and_loaded(model):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        model.save(path)
        return keras.models.load_model(path)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_round_trip_is_tied_and_bit_exact(kind, first, tmp_path):
    inner = block(dropout=0.5)
    uses = [inner, Tied(inner), Tied(inner, "bias")]
    if not first:  # the file then meets a Tied before the layer itself
        uses = uses[1:] + uses[:1]
    if kind == "sequential":
        model = keras.Sequential([keras.Input((8,)), *uses])
    else:
        inputs = x = keras.Input((8,))
        for use in uses:
            x = use(x)
        model = keras.Model(inputs, x)
    x, y = values(16, 8), values(16, 8)
    one_step(model, x, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_equal(model(x), loaded(x))
    assert loaded.count_params() == model.count_params()
    inners = [
        layer.layer if isinstance(layer, Tied) else layer
        for layer in loaded.layers
        if not isinstance(layer, layers.InputLayer)
    ]
    assert len({id(i) for i in inners}) == 1

    model.save_weights(tmp_path / "model.weights.h5")
    for weight in loaded.weights:
        weight.assign(np.zeros(weight.shape))
    loaded.load_weights(tmp_path / "model.weights.h5")
    assert_equal(model(x), loaded(x))


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_cloner_keeps_ties(kind):
    model = tied_model()
    if kind == "sequential":
        inner = block()
        model = keras.Sequential([keras.Input((8,)), inner, Tied(inner)])
    clone = keras.models.clone_model(model, clone_function=TiedCloner())
    assert clone.count_params() == model.count_params()
    assert not {id(w) for w in clone.weights} & {id(w) for w in model.weights}
    clone.set_weights(model.get_weights())
    x = values(3, 8)
    assert_equal(model(x), clone(x))


@pytest.mark.filterwarnings("ignore:The copy of")
def test_config_round_trip():
    tied = Tied(layers.Dense(3), private=["bias"], name="again")
    copy = Tied.from_config(tied.get_config())
    assert copy.get_config() == tied.get_config()
    assert copy.private == ("bias",)


@keras.saving.register_keras_serializable(package="test_tied")
def is_bias(variable):
    return variable.name == "bias"


def test_registered_predicate_is_saved(tmp_path):
    model = tied_model(is_bias)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[2].private is is_bias


@keras.saving.register_keras_serializable(package="tests")
class Encoder(layers.Layer):
    """Layers inside a layer that leaves it to Keras to build them."""

    def __init__(self, inputs=1, **kwargs):
        super().__init__(**kwargs)
        self.inputs = inputs
        self.dense = layers.Dense(8)
        self.norm = layers.BatchNormalization()

    def call(self, x, training=None):
        return self.norm(self.dense(x), training=training)

    def get_config(self):
        return {**super().get_config(), "inputs": self.inputs}


@keras.saving.register_keras_serializable(package="tests")
class Merger(Encoder):
    def call(self, x, other, training=None):
        return super().call(x + other, training=training)


@pytest.mark.parametrize("private", ["normalization", None, "bias"])
@pytest.mark.parametrize("kind", [Encoder, Merger])
@pytest.mark.parametrize(
    "copied",
    [
        lambda model: keras.models.model_from_json(model.to_json()),
        keras.models.clone_model,
        copy.deepcopy,
        saved_and_loaded,
    ],
    ids=["json", "clone", "deepcopy", "file"],
)
@pytest.mark.filterwarnings("ignore:`build\\(\\)` was called on layer")
def test_layers_without_a_build_keep_their_ties(kind, private, copied):
    layer = kind(name="encoder")
    inputs = keras.Input((8,))
    given = (inputs,) * (2 if kind is Merger else 1)
    x = layer(*given)
    use = Tied(layer, private, name="again")
    model = keras.Model(inputs, use(*(x,) * len(given)))
    made = copied(model)
    assert made.count_params() == model.count_params()
    made.set_weights(model.get_weights())
    x = values(4, 8)
    assert_equal(made(x), model(x))


@keras.saving.register_keras_serializable(package="tests")
class Nameless(layers.Dense):
    """Has a config that lacks its name."""

    def get_config(self):
        return {"units": self.units}


def test_a_copy_that_loses_its_name_loses_its_tie_and_says_why():
    layer = Nameless(8, name="one")
    model = keras.Sequential([keras.Input((8,)), layer, Tied(layer)])
    with pytest.warns(UserWarning, match=r"class Nameless has no name.*`get_config`"):
        keras.models.clone_model(model)
