"""Models that Keras rebuilds, on every path that it has, stay tied."""

import copy
import json
import pickle
import tempfile

import keras
import numpy as np
import pytest
from keras import layers
from random_data import randomize, values

from keras_share import SharedStack, Tied, Transposed, share
from keras_share.layers import TiedCloner


def inputs(*shape, **kwargs):
    return keras.Input(shape or (8,), **kwargs)


def used_twice():
    x, dense = inputs(), layers.Dense(8)
    return keras.Model(x, dense(dense(x)))


def tied():
    x, dense = inputs(), layers.Dense(8)
    return keras.Model(x, Tied(dense, "bias")(dense(x)))


def tied_of_tied():
    x, dense = inputs(), layers.Dense(8)
    again = Tied(dense, "bias")
    return keras.Model(x, Tied(again, None)(again(dense(x))))


def transposed():
    x, embedding = inputs(5, dtype="int32"), layers.Embedding(9, 4)
    return keras.Model(x, Transposed(embedding)(embedding(x)))


def shared():
    stages = [layers.Dense(8, activation="relu") for _ in range(4)]
    return share(keras.Sequential([inputs(), *stages]), "shared")


def shared_across_models():
    def block(name):
        parts = [layers.Dense(8, name="first"), layers.Dense(8, name="second")]
        return keras.Sequential([inputs(), *parts], name=name)

    return share(keras.Sequential([inputs(), *map(block, "abc")]), "shared")


class Makes(layers.Layer):
    """Makes its part itself, and has no name of its own in the config of a model."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.part = layers.Dense(8, name="part")

    def build(self, shape):
        self.part.build(shape)

    def call(self, x):
        return self.part(x)


def to_what_a_layer_makes():
    x, layer = inputs(), Makes()
    return keras.Model(x, Tied(layer.part)(layer(x)))


def to_a_layer_inside():
    dense = layers.Dense(8)
    nested = keras.Sequential([inputs(), dense, layers.ReLU()])
    return keras.Sequential([inputs(), nested, Tied(dense)])


def to_one_of_two_of_a_name():
    x = inputs()
    nested = [
        keras.Sequential([inputs(), layers.Dense(8, name="dense")]) for _ in range(2)
    ]
    y = nested[1](nested[0](x))
    ties = [Tied(part.layers[0], None) for part in nested]
    return keras.Model(x, ties[1](ties[0](y)))


def out_of_a_model_with_a_namesake():
    dense, own = (layers.Dense(8, name="dense") for _ in range(2))
    first = keras.Sequential([inputs(), dense])
    second = keras.Sequential([inputs(), own, Tied(dense, None)])
    return keras.Sequential([inputs(), first, second])


def from_inside():
    dense, x, y = layers.Dense(8), inputs(), inputs()
    first = dense(x)
    return keras.Model(x, keras.Model(y, Tied(dense)(y))(first))


def twins_with_equal_names():
    def twin(name):
        dense = layers.Dense(8, name="dense")
        parts = [inputs(), dense, Tied(dense, name="again")]
        return keras.Sequential(parts, name=name)

    return keras.Sequential([inputs(), twin("a"), twin("b")])


def in_a_wrapper():
    x, dense = inputs(5, 8), layers.Dense(8)
    return keras.Model(x, layers.TimeDistributed(Tied(dense))(dense(x)))


def of_a_block_in_a_stack():
    x, stack = inputs(), SharedStack(layers.Dense(8), "ABA")
    return keras.Model(x, Tied(stack.blocks[0])(stack(x)))


def of_a_model():
    x, block = inputs(), keras.Sequential([inputs(), layers.Dense(8), layers.ReLU()])
    return keras.Model(x, Tied(block)(block(x)))


def towers():
    one, other = inputs(), inputs()
    first, second = layers.Dense(8), layers.Dense(8)
    outputs = Tied(second)(Tied(first)(other)), second(first(one))
    return keras.Model([one, other], layers.Subtract()(outputs[::-1]))


def before_its_layer():
    dense = layers.Dense(8)
    dense.build((None, 8))
    return keras.Sequential([inputs(), Tied(dense, "bias"), dense])


def before_a_model_with_its_layer():
    first, later = (layers.Dense(8, name="dense") for _ in range(2))
    later.build((None, 8))
    nested = [keras.Sequential([inputs(), dense]) for dense in (first, later)]
    return keras.Sequential([inputs(), nested[0], Tied(later, None), nested[1]])


def from_inside_before_its_layer():
    dense, x, y = layers.Dense(8), inputs(), inputs()
    dense.build((None, 8))
    return keras.Model(x, dense(keras.Model(y, Tied(dense, None)(y))(x)))


def of_a_layer_of_no_model():
    dense = layers.Dense(8)
    dense.build((None, 8))
    return keras.Sequential([inputs(), *(Tied(dense, "bias") for _ in range(3))])


MODELS = [
    used_twice,
    tied,
    tied_of_tied,
    transposed,
    shared,
    shared_across_models,
    to_a_layer_inside,
    to_one_of_two_of_a_name,
    out_of_a_model_with_a_namesake,
    from_inside,
    twins_with_equal_names,
    in_a_wrapper,
    of_a_block_in_a_stack,
    of_a_model,
    towers,
    before_its_layer,
    before_a_model_with_its_layer,
    from_inside_before_its_layer,
    of_a_layer_of_no_model,
]


def from_config(model):
    base = keras.Sequential if isinstance(model, keras.Sequential) else keras.Model
    return base.from_config(model.get_config())


def serialized(model):
    config = keras.saving.serialize_keras_object(model)
    return keras.saving.deserialize_keras_object(config)


def in_h5(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.h5")
        return keras.models.load_model(f"{folder}/model.h5", compile=False)


def cloned_by_us(model):
    return keras.models.clone_model(model, clone_function=TiedCloner())


PATHS = {
    "json": lambda model: keras.models.model_from_json(model.to_json()),
    "config": from_config,
    "serialized": serialized,
    "h5": in_h5,
    "clone": keras.models.clone_model,
    "cloner": cloned_by_us,
    "cloner's model": lambda model: TiedCloner().model(model),
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("make", MODELS)
def test_stays_tied(make, path):
    model = randomize(make())
    again, other = PATHS[path](model), PATHS[path](model)
    everything = [v for m in (model, again, other) for v in m.weights]
    assert len({id(v) for v in everything}) == 3 * len(model.weights)
    again.set_weights(model.get_weights())
    shape = (2, *model.inputs[0].shape[1:])
    x = np.arange(10).reshape(shape) % 9 if make is transposed else values(*shape)
    x = [x, 2 * x] if make is towers else x
    np.testing.assert_allclose(again(x), model(x), atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [to_a_layer_inside, to_one_of_two_of_a_name, out_of_a_model_with_a_namesake],
)
def test_a_saved_tie_to_a_layer_inside_is_loaded(make, tmp_path):
    model = randomize(make())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.count_params() == model.count_params()
    np.testing.assert_array_equal(loaded(values(2, 8)), model(values(2, 8)))


def test_a_tie_in_a_config_of_before_that_names_cannot_tell_is_told():
    def without_places(config):
        if isinstance(config, list):
            return [without_places(x) for x in config]
        if not isinstance(config, dict):
            return config
        return {k: without_places(v) for k, v in config.items() if k != "place"}

    config = json.loads(to_one_of_two_of_a_name().to_json())
    message = r"not the 'dense' that it was tied to: \d of this name"
    with pytest.warns(UserWarning, match=message):
        keras.models.model_from_json(json.dumps(without_places(config)))


@pytest.mark.parametrize("path", ["json", "config", "serialized"])
def test_a_tie_to_what_a_layer_makes_itself_stays(path):
    model = to_what_a_layer_makes()
    with keras.saving.custom_object_scope({"Makes": Makes}):
        assert len(PATHS[path](model).weights) == len(model.weights) == 2


class Own(layers.Dense):
    """Not known to Keras."""


def test_a_tie_before_a_layer_of_ones_own_stays():
    own, x = Own(8), inputs()
    own.build((None, 8))
    for model in (
        keras.Sequential([inputs(), Tied(own, None), own]),
        keras.Model(x, own(Tied(own, None)(x))),
    ):
        again = type(model).from_config(model.get_config(), {"Own": Own})
        assert len(again.weights) == len(model.weights)


def each_other():
    first, second = layers.Dense(8), layers.Dense(8)
    for dense in (first, second):
        dense.build((None, 8))
    parts = [(first, Tied(second, None)), (second, Tied(first, None))]
    return keras.Sequential(
        [inputs(), *(keras.Sequential([inputs(), *p]) for p in parts)]
    )


@pytest.mark.parametrize("path", ["json", "config", "serialized", "h5", "clone"])
def test_a_tie_that_is_lost_is_told_and_cannot_be_saved(path, tmp_path):
    model = randomize(each_other())
    with pytest.warns(UserWarning, match="uses a layer of its own and not the 'dense"):
        again = PATHS[path](model)
    assert len(again.weights) > len(model.weights)
    message = "must be saved with its tie. Received: 'tied.*' of its own. To copy a"
    for save in (again.to_json, lambda: again.save(tmp_path / "model.keras")):
        with pytest.raises(ValueError, match=message):
            save()
    kept = TiedCloner().model(model)
    assert len(kept.weights) == len(model.weights)
    untied = TiedCloner().model(again)  # the other way out
    untied.save(tmp_path / "model.keras")
    assert len(untied.weights) == len(again.weights)
