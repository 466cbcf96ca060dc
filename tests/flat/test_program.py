"""What layers run that are written as people write them, not as Keras does."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values
from unrounded import kinds, unrounded

import keras_share
from keras_share import export_tflite, quantize_model
from keras_share.quantize import quantization_report
from keras_share.tflite.runtimes.agreement import agreement_of

SHAPE = (4, 8)


class Pair(layers.Layer):
    """Returns two tensors, which its `compute_output_shape` doesn't tell."""

    def call(self, x):
        return x + 1.0, ops.tanh(x)

    def compute_output_shape(self, shape):
        return shape


class Half(layers.Layer):
    """Returns a tensor and None, and has such a layer inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.pair = Pair()
        self.dense = layers.Dense(8)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        one, other = self.pair(x)
        return self.dense(one) + other, None


class Stages(layers.Layer):
    """Runs a list of such layers, and returns constants beside its output."""

    def build(self, shape):
        self.stages = [Half() for _ in range(2)]
        for stage in self.stages:
            stage.build(shape)

    def call(self, x):
        for stage in self.stages:
            x, _ = stage(x)
        return x, ops.zeros((0, x.shape[1]))


class First(layers.Layer):
    """Takes the first of several outputs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stages = Stages()

    def build(self, shape):
        self.stages.build(shape)

    def call(self, x):
        return self.stages(x)[0]


class Repeated(layers.Layer):
    """Repeats a table of its own for each sample."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:])

    def call(self, x):
        table = ops.expand_dims(ops.convert_to_tensor(self.table), 0)
        return x + ops.repeat(table, repeats=ops.shape(x)[0], axis=0)


class Indexed(layers.Layer):
    """Takes parts of what it computes of a weight, by one key each."""

    def build(self, shape):
        self.table = self.add_weight(shape=(2, 2, *shape[1:]))

    def call(self, x):
        row = ops.reshape(self.table, (4, *x.shape[1:]))[:2]
        return x + row[0][None] * row[..., :][1]


class Windows(layers.Layer):
    """Sees the windows of each image in its batch; their number divides that."""

    def __init__(self, number, **kwargs):
        super().__init__(**kwargs)
        self.number = number

    def call(self, x):
        batch, *sizes = ops.shape(x)
        offsets = ops.convert_to_tensor(np.arange(self.number, dtype="float32"))
        x = ops.reshape(x, (batch // self.number, self.number, *sizes))
        x = x + ops.reshape(offsets, (1, self.number, 1, 1))
        return ops.reshape(x, (-1, *sizes))


class InWindows(layers.Layer):
    """Computes windows of an image."""

    def __init__(self, number, **kwargs):
        super().__init__(**kwargs)
        self.windows = Windows(number)
        self.number = number

    def call(self, x):
        length, width = x.shape[1:]
        y = ops.reshape(x, (-1, length // self.number, width))
        return ops.reshape(self.windows(y), (-1, length, width))


class DropPath(layers.Layer):
    """Leaves out whole samples in training, as many packages have it."""

    def __init__(self, rate=0.5, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = keras.random.SeedGenerator(0)

    def call(self, x, training=False):
        if not training:
            return x
        shape = (ops.shape(x)[0], *[1] * (len(x.shape) - 1))
        kept = keras.random.uniform(shape, seed=self.seed) > self.rate
        return ops.where(kept, x / (1 - self.rate), 0.0)


class Trained(layers.Layer):
    """Passes `training` on, to a layer too that doesn't know it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.drop, self.same, self.dense = (
            DropPath(),
            layers.Identity(),
            layers.Dense(8),
        )

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x, training=None):
        y = self.drop(self.dense(x), training=training)
        return x + self.same(y, training=training)


def model_of(*parts, shape=SHAPE):
    return randomize(keras.Sequential([keras.Input(shape), *parts]))


@pytest.mark.parametrize(
    "make, shape",
    [
        (First, SHAPE),
        (Repeated, SHAPE),
        (Indexed, SHAPE),
        (lambda: InWindows(2), SHAPE),
        (lambda: InWindows(36), (36, 2)),
        (Trained, SHAPE),
    ],
)
def test_it_is_opened(make, shape, tmp_path):
    model, x = model_of(make(), shape=shape), values(8, *shape)
    opened, _ = unrounded(model)
    np.testing.assert_allclose(opened(x), model(x), atol=1e-5)
    assert not quantization_report(model).float_layers
    keras_share.find_sites(model)
    quantized = quantize_model(model, x)
    report = export_tflite(quantized, tmp_path / "m.tflite", representative_dataset=x)
    assert not report.float_operators


class Decaying(layers.Layer):
    """A loop or a branch whose function reads what was computed before it."""

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind

    def build(self, shape):
        self.rates = self.add_weight(shape=shape[2:])

    def call(self, x):
        rates = ops.sigmoid(self.rates)
        if self.kind == "branch":
            return ops.cond(ops.max(rates) > 0.5, lambda: x * rates, lambda: x)

        def step(state, y):
            state = state * rates + y
            return state, state

        states = ops.transpose(x, (1, 0, 2))
        return ops.scan(step, ops.zeros_like(x[:, 0]), states)[1][-1]


class Halving(layers.Layer):
    """A loop whose function has one in it that calls itself."""

    def call(self, x):
        def halved(y, times):
            return y if times == 0 else halved(y * 0.5, times - 1)

        return ops.fori_loop(0, 2, lambda i, y: halved(y, 2), x)


def test_functions_that_call_themselves():
    model, x = model_of(layers.Dense(8), Halving(name="own")), values(8, *SHAPE)
    quantized = quantize_model(model, x)
    np.testing.assert_allclose(quantized(x), model(x), atol=0.01)


@pytest.mark.parametrize("kind", ["branch", "scan"])
def test_functions_that_read_tensors_stay_in_their_layer(kind, tmp_path):
    model = model_of(layers.Dense(8), Decaying(kind, name="own"), layers.Dense(3))
    x = values(8, *SHAPE)
    with pytest.warns(UserWarning, match="'own'.*a function inside .* reads a tensor"):
        quantized = quantize_model(model, x)
    np.testing.assert_allclose(quantized(x), model(x), atol=0.2)
    report = export_tflite(quantized, tmp_path / "m.tflite", representative_dataset=x)
    assert report.float_operators


def test_samples_are_left_out_in_training_alone():
    model, x = model_of(Trained()), np.ones((64, *SHAPE), "float32")
    quantized = quantize_model(model, x)
    unchanged = [
        (abs(ops.convert_to_numpy(y) - x) < 0.1).all(axis=(1, 2)).sum()
        for y in (quantized(x, training=True), quantized(x))
    ]
    assert 10 < unchanged[0] < 54
    assert unchanged[1] == 0


def test_a_tensor_taken_apart():
    x = keras.Input(SHAPE)
    model = keras.Model(x, ops.add(*ops.unstack(x, axis=-1)[2:4]))
    opened, graph = unrounded(model)
    given = values(3, *SHAPE)
    np.testing.assert_allclose(opened(given), model(given))
    assert "Unstack" not in kinds(graph)
    open_length = keras.Input((None, 8))
    model = keras.Model(open_length, ops.unstack(open_length, 3, axis=1)[1])
    assert not quantization_report(model).float_layers


class Switching(layers.Layer):
    """Computes the same operations in training, of something else."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def build(self, shape):
        self.one, self.other = (self.add_weight(shape=(8, 3)) for _ in range(2))

    def call(self, x, training=False):
        return self.function(self, x, training)


@pytest.mark.parametrize(
    "function",
    [
        lambda own, x, train: ops.matmul(x, own.one if train else own.other),
        lambda own, x, train: ops.matmul(x, own.one) * (0.1 if train else 1.0),
        lambda own, x, train: ops.sum(ops.matmul(x, own.one), -1 if train else 1),
        lambda own, x, train: x if train else ops.tanh(x) * 0 + ops.tanh(x),
    ],
)
def test_what_differs_in_training_stays_closed(function):
    model, x = model_of(Switching(function), shape=(3, 8)), values(4, 3, 8)
    quantized = quantize_model(model, x)
    for training in (False, True):
        expected = model(x, training=training)
        off = np.abs(quantized(x, training=training) - expected).max()
        assert off < 0.1 * np.abs(expected).max()
    [row] = quantization_report(model).float_layers
    assert "it computes something else in training" in row.reason


class MaybeScaled(layers.Layer):
    """Does nothing but where it is told to."""

    def call(self, x, scale=None, training=False):
        return x if scale is None else x * scale


def test_what_a_layer_is_called_with_is_done(tmp_path):
    inputs, path = keras.Input(SHAPE), tmp_path / "m.tflite"
    y = MaybeScaled()(layers.Dense(6)(inputs), scale=5.0)
    model = randomize(keras.Model(inputs, layers.Dense(3)(y)))
    x = values(32, *SHAPE)
    report = export_tflite(quantize_model(model, x), path, representative_dataset=x)
    assert not report.float_operators
    found = keras_share.predict_tflite(path, x)
    assert agreement_of("", np.asarray(model(x)), found, None).ratio > 28


class TiedHead(keras.Model):
    """Scores by the table that it looks up in, as many write it."""

    def __init__(self):
        super().__init__()
        self.table = layers.Embedding(9, 4)

    def call(self, ids):
        return ops.matmul(self.table(ids), ops.transpose(self.table.embeddings))


def test_a_model_that_cannot_be_copied_tells_why_it_would_be():
    ids = keras.Input((5,), dtype="int32")
    model = keras.Model(ids, TiedHead()(ids))
    with pytest.raises(
        ValueError, match=r"get_config.*uses weights.*`keras_share\.Tra"
    ):
        quantize_model(model, np.zeros((4, 5), "int32"))
