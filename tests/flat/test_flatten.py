import keras
import numpy as np
import pytest
from keras import layers
from random_data import randomize, values

from keras_share import SharedStack, SharingPattern, Tied
from keras_share.blocks import ConformerBlock, SeparableConvBlock, TransformerBlock
from keras_share.flat.flatten import flatten
from keras_share.flat.rebuild import Rebuilder


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


@pytest.mark.parametrize("pattern", list(SharingPattern.all(4)), ids=str)
def test_every_pattern_keeps_its_number_of_weights(pattern):
    model = keras.Sequential([keras.Input((4,)), SharedStack(dense_norm, pattern)])
    graph = flatten(model)
    dense = [step for step in graph if isinstance(step.op, layers.Dense)]
    assert sorted({graph.num_uses(s.op.kernel) for s in dense}) == sorted(
        {len(group) for group in pattern.groups}
    )
    assert rebuild(graph).count_params() == model.count_params()


def test_steps_are_leaves_with_readable_unique_names():
    graph = flatten(MODELS["stack"]())
    names = [step.name for step in graph]
    assert len(set(names)) == len(names)
    assert {type(step.op).__name__ for step in graph} == {"Dense", "BatchNormalization"}
    private = [[v.name for v in step.stand_ins] for step in graph]
    norm = ["gamma", "beta", "moving_mean", "moving_variance"]
    assert private == [[], [], [], [], ["bias"], norm, ["bias"], norm]


def test_names_tell_where_a_layer_stands():
    inputs = keras.Input((4,))
    first = keras.Sequential([layers.Dense(4, name="one")], name="first")
    second = keras.Sequential([layers.Dense(4, name="one")], name="second")
    graph = flatten(keras.Model(inputs, second(first(inputs))))
    assert [step.name for step in graph] == ["first.one", "second.one"]


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
    np.testing.assert_allclose(model(x), rebuilt(x), rtol=1e-4, atol=1e-5)


def test_batch_size_can_be_fixed():
    graph = flatten(MODELS["sequential"](), batch_size=1)
    assert rebuild(graph).inputs[0].shape == (1, 3)


def test_a_closed_layer_is_a_leaf_with_a_reason():
    class Scaled(layers.Layer):  # is none, with a single number of its own
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(4, name="dense")

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
    assert [(step.name, step.reason) for step in flatten(model)] == [
        ("a.dense", None),
        ("a.scale", None),
        ("a.reshape", None),
        ("a.multiply", None),
        ("b", "it can't be opened: no symbols"),
    ]


class Positions(layers.Layer):
    """Keras's usual token and position embedding: positions are made in `call`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense, self.positions = layers.Dense(4), layers.Embedding(3, 4)

    def build(self, shape):
        self.dense.build(shape)
        self.positions.build((3,))

    def call(self, x):
        return self.dense(x) + self.positions(keras.ops.arange(3))


class Transposed(layers.Layer):
    """A kernel used forwards and transposed."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(6, use_bias=False)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return keras.ops.matmul(self.dense(x), keras.ops.transpose(self.dense.kernel))


class Drops(layers.Layer):
    """Runs a layer in training only."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense, self.dropout = layers.Dense(4), layers.Dropout(0.5)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x, training=None):
        x = self.dense(x)
        return self.dropout(x, training=True) if training else x


@pytest.mark.parametrize("private", ["kernel", "normalization"])
@pytest.mark.parametrize("kind", [Transposed, Drops])
def test_layers_that_hide_weights_or_training_stay_closed(kind, private):
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, SharedStack(kind, "AA", private)(inputs))
    randomize(model)
    graph = flatten(model)
    assert all("it can't be opened" in step.reason for step in graph)
    rebuilt = rebuild(graph)
    x = values(2, 3, 4)
    np.testing.assert_array_equal(model(x), rebuilt(x))
    assert rebuilt.count_params() == model.count_params()


@pytest.mark.parametrize("private", ["embeddings", None])
def test_tables_that_are_read_as_constants_are_weights_of_steps(private):
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, SharedStack(Positions, "AA", private)(inputs))
    randomize(model)
    rebuilt = rebuild(flatten(model))
    x = values(2, 3, 4)
    np.testing.assert_array_equal(model(x), rebuilt(x))
    assert rebuilt.count_params() == model.count_params()


def test_a_model_that_uses_bare_weights_is_refused():
    dense = layers.Dense(4)
    inputs = keras.Input((4,))
    x = keras.ops.matmul(dense(inputs), dense.kernel)
    with pytest.raises(ValueError, match=r"can't be taken apart: .*passes a weight"):
        flatten(keras.Model(inputs, x))


def test_private_weights_with_the_name_of_a_shared_one():
    class Scaled(layers.Layer):  # is none, with a single number of its own
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.norm = layers.BatchNormalization(name="norm")

        def build(self, shape):
            self.norm.build(shape)
            self.gamma = self.add_weight(shape=shape[-1:], name="gamma")

        def call(self, x):
            return self.norm(x) * self.gamma

    inputs = keras.Input((4,))
    model = keras.Model(inputs, SharedStack(Scaled, "AAA", "norm")(inputs))
    rebuilt = rebuild(flatten(randomize(model)))
    x = values(2, 4)
    np.testing.assert_array_equal(model(x), rebuilt(x))
    assert rebuilt.count_params() == model.count_params()


def test_a_stack_called_twice_keeps_its_private_weights():
    stack = SharedStack(dense_norm, "AA")
    inputs = keras.Input((4,))
    model = randomize(keras.Model(inputs, stack(layers.ReLU()(stack(inputs)))))
    rebuilt = rebuild(flatten(model))
    x = values(2, 4)
    np.testing.assert_array_equal(model(x), rebuilt(x))
    assert rebuilt.count_params() == model.count_params()


def test_adapted_layers_keep_what_they_learned():
    norm = layers.Normalization()
    x = values(64, 4) * 5 + 20
    norm.adapt(x)
    model = keras.Sequential([keras.Input((4,)), norm])
    np.testing.assert_array_equal(model(x), rebuild(flatten(model))(x))


def test_conversions_to_another_type_stay():
    inputs = keras.Input((4,))
    x = keras.ops.cast(keras.ops.convert_to_tensor(inputs, dtype="int32"), "float32")
    rebuilt = rebuild(flatten(keras.Model(inputs, x)))
    np.testing.assert_array_equal(rebuilt(np.full((1, 4), 1.7, "float32")), [[1] * 4])


def test_half_precision_is_rebuilt_in_full():
    dense = layers.Dense(4, dtype="mixed_float16")
    model = keras.Sequential([keras.Input((4,)), SharedStack(dense, "AA")])
    rebuilt = rebuild(flatten(randomize(model)))
    assert rebuilt.outputs[0].dtype == "float32"
    x = values(2, 4)
    np.testing.assert_allclose(model(x), rebuilt(x), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("inference", [True, False])
def test_attention_with_dropout_opens(inference):
    inputs = keras.Input((3, 4))
    attention = layers.MultiHeadAttention(2, 2, dropout=0.5)
    outputs = attention(inputs, inputs)
    model = keras.Model(inputs, outputs)
    opened = flatten(model, inference=inference)
    assert {"query", "key", "value"} <= {step.op.name for step in opened}
    x = values(2, 3, 4)
    np.testing.assert_allclose(rebuild(opened)(x), model(x), atol=1e-6)
    assert len(rebuild(opened).trainable_weights) == 8
