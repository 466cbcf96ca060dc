import keras
import pytest
from keras import layers

from keras_share import Tied
from keras_share.layers import TiedCloner
from keras_share.layers.copying import copy_layer


class Doubled(layers.Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def get_config(self):
        return super().get_config()

    def call(self, x):
        return x * self.factor


def test_a_copy_has_the_config_but_for_changes():
    dense = layers.Dense(4, activation="relu", name="one")
    dense.build((None, 3))
    copy = copy_layer(dense, name="other", units=5, filters=7)
    assert (copy.name, copy.units, copy.built) == ("other", 5, False)
    assert copy.activation is keras.activations.relu


def test_a_layer_inside_need_not_be_registered():
    class Own(layers.Layer):
        def call(self, x):
            return x

    copy = copy_layer(layers.TimeDistributed(Own(name="own")))
    assert type(copy.layer) is Own


def test_a_config_that_makes_no_layer_is_an_error():
    with pytest.raises(ValueError, match=r"'twice' of type Doubled can't be: its `get"):
        copy_layer(Doubled(2, name="twice"))


def test_ties_in_nested_models_are_kept():
    dense = layers.Dense(4)
    nested = keras.Sequential([keras.Input((4,)), dense, Tied(dense, "bias")])
    model = keras.Sequential([keras.Input((4,)), nested, Tied(dense, None)])
    clone = keras.models.clone_model(model, clone_function=TiedCloner())
    assert clone.count_params() == model.count_params() == 4 * 4 + 2 * 4
