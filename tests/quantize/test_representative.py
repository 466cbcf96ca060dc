import keras
import numpy as np
import pytest

from keras_share.quantize.representative import batches, random_sample, samples


def model_of(**shapes):
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    return keras.Model(list(inputs.values()), list(inputs.values()))


def test_arrays_are_cut_into_samples():
    x = np.arange(6.0).reshape(3, 2)
    rows = list(samples(x, model_of(a=(2,))))
    assert [row[0].shape for row in rows] == [(1, 2)] * 3
    assert rows[0][0].dtype == "float32"
    np.testing.assert_array_equal(np.concatenate([row[0] for row in rows]), x)


def test_functions_yield_samples_with_a_batch_axis():
    def dataset():
        for i in range(3):
            yield [np.full((1, 2), i), np.full((1, 4), i)]

    rows = list(samples(dataset, model_of(a=(2,), b=(4,))))
    assert [[part.shape for part in row] for row in rows] == [[(1, 2), (1, 4)]] * 3


def test_batches_hold_all_samples():
    x = np.arange(10.0).reshape(5, 2)
    parts = [batch[0] for batch in batches(x, model_of(a=(2,)), batch_size=2)]
    assert [len(part) for part in parts] == [2, 2, 2]  # the last sample repeats
    np.testing.assert_array_equal(np.concatenate(parts), x[[0, 1, 2, 3, 4, 4]])


def test_batches_hold_samples_of_one_shape():
    rows = [np.zeros((1, n, 2)) for n in (3, 3, 5, 3)]
    parts = batches(lambda: iter(rows), model_of(a=(None, 2)), batch_size=8)
    assert [part[0].shape for part in parts] == [(2, 3, 2), (1, 5, 2), (1, 3, 2)]


def test_random_samples_fit_the_inputs():
    inputs = [keras.Input((None, 3)), keras.Input((2,), dtype="int32")]
    real, whole = random_sample(keras.Model(inputs, inputs))
    assert real.shape == (1, 1, 3) and real.dtype == "float32"
    assert whole.dtype == "int32" and set(whole.flat) <= {0, 1}


@pytest.mark.parametrize(
    "dataset, message",
    [
        (None, "`representative_dataset` is needed"),
        (np.zeros((0, 2)), "at least one sample"),
        (lambda: iter([]), "at least one sample"),
        (np.zeros((3, 5)), r"input 'a', \(None, 2\).*sample 0.*\(1, 5\)"),
        (lambda: [[np.zeros((1, 2))], [np.zeros(2)]], r"sample 1.*shape \(2,\)"),
        (np.array([[0.0, 1.0], [np.inf, 0.0]]), "must be finite.*sample 1.*'a'"),
        ([np.zeros((3, 2))] * 2, r"one array per input.*1: \['a'\].*Received: 2"),
        ((x for x in "ab"), "wrap a generator.*Received: generator"),
        (np.full((2, 2), "x"), "values of the input 'a', float32.*<U1"),
    ],
)
def test_errors(dataset, message):
    with pytest.raises(ValueError, match=message):
        list(samples(dataset, model_of(a=(2,))))


def test_arrays_must_be_equally_long():
    with pytest.raises(ValueError, match=r"equally many samples\. Received: \[3, 2\]"):
        list(samples([np.zeros((3, 2)), np.zeros((2, 4))], model_of(a=(2,), b=(4,))))


class Batches(keras.utils.PyDataset):
    def __init__(self, x, targets, **kwargs):
        super().__init__(**kwargs)
        self.x, self.targets = x, targets

    def __len__(self):
        return 2

    def __getitem__(self, index):
        batch = self.x[2 * index : 2 * index + 2]
        return (batch, batch) if self.targets else batch


@pytest.mark.parametrize("targets", [False, True])
def test_datasets_of_keras(targets):
    x = np.arange(8, dtype="float32").reshape(4, 2)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    found = [sample for [sample] in samples(Batches(x, targets), model)]
    np.testing.assert_array_equal(np.concatenate(found), x)
    assert [sample.shape for sample in found] == [(1, 2)] * 4


def test_a_random_sample_is_large_enough_for_the_kernels():
    stages = [keras.layers.Conv2D(2, 5), keras.layers.MaxPooling2D()]
    model = keras.Sequential([keras.Input((None, None, 3)), *stages])
    assert random_sample(model)[0].shape == (1, 32, 32, 3)
    assert random_sample(model_of(a=(None, 2)))[0].shape == (1, 1, 2)


class Endless(keras.utils.PyDataset):
    @property
    def num_batches(self):
        return None

    def __getitem__(self, index):
        raise AssertionError("never ends")


def test_a_dataset_without_an_end_is_refused():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=r"must have an end.*num_batches=None"):
        list(samples(Endless(), model))
