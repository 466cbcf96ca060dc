import keras
import numpy as np
import pytest
from keras import layers

from keras_share import (
    ConformerBlock,
    SeparableConvBlock,
    SharedStack,
    SharingPattern,
    Tied,
    TransformerBlock,
)
from keras_share.graph import Rebuilder, flatten


def values(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def randomize(model):
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.2, 1.0, size=weight.shape))
    return model


def rebuild(graph):
    rebuilder = Rebuilder(graph)
    for step in graph:
        rebuilder.set(step.outputs, rebuilder.call(step))
    return rebuilder.finish()


def dense_norm():
    return keras.Sequential([layers.Dense(4), layers.BatchNormalization()])


def composite_and_nested():
    nested = keras.Sequential([keras.Input((6, 8)), layers.Dense(8)])
    inputs = keras.Input((6, 8))
    x = SharedStack(TransformerBlock(2, 8, dropout=0.1), "AA")(inputs)
    return keras.Model(inputs, nested(nested(x)) + inputs)


MODELS = {
    "sequential": lambda: keras.Sequential([keras.Input((3,)), layers.Dense(2)]),
    "stack": lambda: keras.Sequential(
        [keras.Input((4,)), SharedStack(dense_norm, "ABAA", ["normalization", "bias"])]
    ),
    "conv": lambda: keras.Sequential(
        [keras.Input((5, 5, 4)), SharedStack(SeparableConvBlock(), "ABA")]
    ),
    "conformer": lambda: keras.Sequential(
        [keras.Input((6, 8)), SharedStack(ConformerBlock(2, 8, 3), "AA")]
    ),
    "composite": composite_and_nested,
    "recurrent": lambda: keras.Sequential(
        [keras.Input((6, 4)), SharedStack(layers.GRU(4, return_sequences=True), "AA")]
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_rebuilt_model_is_the_same(name, tmp_path):
    model = randomize(MODELS[name]())
    rebuilt = rebuild(flatten(model))
    x = values(3, *model.inputs[0].shape[1:])
    np.testing.assert_array_equal(model(x), rebuilt(x))
    assert rebuilt.count_params() == model.count_params()
    assert not {id(w) for w in model.weights} & {id(w) for w in rebuilt.weights}

    rebuilt.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), rebuilt(x))
    assert loaded.count_params() == model.count_params()


@pytest.mark.parametrize("pattern", SharingPattern.all(4), ids=str)
def test_every_pattern_keeps_its_number_of_weights(pattern):
    model = keras.Sequential([keras.Input((4,)), SharedStack(dense_norm, pattern)])
    graph = flatten(model)
    dense = [step for step in graph if isinstance(step.op, layers.Dense)]
    assert sorted({graph.num_uses(s.op) for s in dense}) == sorted(
        {len(group) for group in pattern.groups}
    )
    assert rebuild(graph).count_params() == model.count_params()


def test_steps_are_leaves_with_readable_unique_names():
    graph = flatten(MODELS["stack"]())
    names = [step.name for step in graph]
    assert len(set(names)) == len(names)
    assert {type(step.op).__name__ for step in graph} == {"Dense", "BatchNormalization"}
    private = [[v.name for v, _ in step.stand_ins] for step in graph]
    norm = ["gamma", "beta", "moving_mean", "moving_variance"]
    assert private == [[], [], [], [], ["bias"], norm, ["bias"], norm]


def test_knows_producers_consumers_and_outputs():
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="one")(inputs)
    model = keras.Model(inputs, [x, layers.ReLU(name="two")(x)])
    graph = flatten(model)
    one, two = graph.steps
    assert graph.producer(one.inputs[0]) is None
    assert graph.producer(two.inputs[0]) is one
    assert graph.consumers(one.output) == [two]
    assert graph.is_output(one.output) and graph.is_output(two.output)


def test_nested_ties_compose():
    inner = Tied(keras.Sequential([layers.Dense(4), layers.BatchNormalization()]))
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Tied(inner, private="bias")(inner(inputs)))
    randomize(model)
    rebuilt = rebuild(flatten(model))
    x = values(3, 4)
    np.testing.assert_allclose(model(x), rebuilt(x), rtol=1e-6)


@pytest.mark.parametrize("private", ["bias", "kernel", None])
def test_a_layer_used_only_through_tied(private):
    dense = layers.Dense(4, activation="tanh")
    inputs = keras.Input((4,))
    x = Tied(dense, private)(inputs)
    model = randomize(keras.Model(inputs, Tied(dense, private)(x)))
    rebuilt = rebuild(flatten(model))
    x = values(3, 4)
    np.testing.assert_array_equal(model(x), rebuilt(x))


def test_trains_with_gradients_summed_over_uses():
    model = randomize(MODELS["stack"]())
    rebuilt = rebuild(flatten(model))
    x, y = values(8, 4), values(8, 4)
    for m in (model, rebuilt):
        m.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
        m.train_on_batch(x, y)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), rebuilt.predict(x, verbose=0), rtol=1e-4, atol=1e-5
    )


def test_batch_size_can_be_fixed():
    graph = flatten(MODELS["sequential"](), batch_size=1)
    assert rebuild(graph).inputs[0].shape == (1, 3)


def test_a_closed_layer_is_a_leaf_with_a_reason():
    class Scaled(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(4)

        def build(self, shape):
            self.dense.build(shape)
            self.scale = self.add_weight(shape=(), name="scale")

        def call(self, x):
            return self.dense(x) * self.scale

    class Branching(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(4)

        def build(self, shape):
            self.dense.build(shape)

        def call(self, x):
            if isinstance(x, keras.KerasTensor):
                raise TypeError("no symbols")
            return self.dense(x)

        def compute_output_shape(self, shape):
            return shape

    inputs = keras.Input((4,))
    model = keras.Model(inputs, Branching(name="b")(Scaled(name="a")(inputs)))
    first, second = flatten(model).steps
    assert (
        first.reason == "it has weights of its own beside the layers inside: ['scale']"
    )
    assert "its call fails on symbolic tensors: no symbols" in second.reason


def test_models_with_implicit_masks_are_refused():
    model = keras.Sequential(
        [keras.Input((3,)), layers.Embedding(4, 2, mask_zero=True, name="tokens")]
    )
    with pytest.raises(ValueError, match="'tokens' computes a mask that travels"):
        flatten(model)
