"""`Data`: all that `fit` takes, and what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_share.search.compression import data as module
from keras_share.search.compression.data import Data

X = np.arange(80, dtype="float32").reshape(40, 2)
Y = np.arange(40)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return X[10 * i : 10 * i + 10], Y[10 * i : 10 * i + 10]


class EndlessBatches(keras.utils.PyDataset):
    num_batches = None

    def __getitem__(self, i):
        return X, Y


def batches():
    return (Batches()[i] for i in range(4))


SOURCES = {
    "arrays": (X, Y),
    "dataset": tf.data.Dataset.from_tensor_slices((X, Y)).batch(10),
    "sequence": Batches(),
    "function": batches,
}


@pytest.mark.filterwarnings("error:.*shuffle")
@pytest.mark.parametrize("name", SOURCES)
def test_each_kind_is_read_again_and_again(name):
    data = Data(SOURCES[name], "train", batch_size=10)
    assert data.num_steps == 4
    for _ in range(2):
        x, y = data.whole
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(data.samples(15), X[:15])
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(**data.fit_arguments(), epochs=2, verbose=0)
    assert model.optimizer.iterations == 8


def test_dicts_of_inputs_and_weights_of_samples():
    source = {"a": X, "b": X + 1}, Y, np.ones(40)
    data = Data(source, "train", batch_size=16)
    x, _, weights = data.first
    assert x["b"].shape == (16, 2)
    assert weights.shape == (16,)
    assert data.samples(20)["a"].shape == (20, 2)


def endless():
    while True:
        yield X, Y


BAD = np.where(np.arange(80).reshape(40, 2) == 7, np.nan, X)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ((X[:5], Y[:5]), r"at least 30 samples.*Received: \[5, 5\]"),
        ((X, Y[:39]), r"equally many samples.*\[40, 39\]"),
        ((BAD, Y), "must be finite.*1 of 80"),
        ((X,), r"must be \(x, y\).*tuple of 1"),
        (batches(), "a generator can be read once"),
        (3, "Received: int"),
        ((X.astype(str), Y), "must be numbers.*`StringLookup`.*array of <U"),
        (lambda: iter([]), "must have a batch"),
        (lambda: iter([(BAD, Y)]), "1 of 80 numbers of its first batch"),
        (lambda: iter([X]), r"each batch of it, must be \(x, y\).*Received: ndarray"),
    ],
)
def test_what_it_refuses(source, message):
    with pytest.raises(ValueError, match=message):
        Data(source, "train")


def test_samples_without_an_end_need_steps(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 100)
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(10).repeat()
    with pytest.raises(ValueError, match="`steps_per_epoch` says"):
        Data(data, "train").num_steps  # noqa: B018
    with pytest.raises(ValueError, match="`validation_steps` says"):
        Data(data, "validation").whole  # noqa: B018
    with pytest.raises(ValueError, match=r"`test` must have an end\. Received"):
        Data(EndlessBatches(), "test").whole  # noqa: B018
    data = Data(endless, "train", steps=3)
    assert data.num_steps == 3
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    fitted = model.fit(**data.fit_arguments(), epochs=2, verbose=0)
    assert len(fitted.history["loss"]) == 2
    assert model.optimizer.iterations == 6
    assert len(Data(endless, "validation", steps=3).whole[1]) == 120
    # Short epochs are no reason to calibrate on few.
    assert len(Data((X, Y), "train", batch_size=4, steps=2).samples(30)) == 30


def test_samples_of_other_lengths_are_no_file():
    pairs = [(X, Y), (X[:, :1], Y)]
    with pytest.raises(ValueError, match="must have equal shapes"):
        Data(lambda: iter(pairs), "validation").whole  # noqa: B018
