"""`share(..., relax=)`: sharing that starts close to the trained weights."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import randomize, values

from keras_share import Basis, LowRank, Scale, StepEmbedding, Templates, share, untie
from keras_share.layers.relax.relaxed import Relaxed

WIDTH, SITES = 8, 4


def dense_model():
    model = keras.Sequential([keras.Input((WIDTH,))])
    for i in range(SITES):
        model.add(layers.Dense(WIDTH, "tanh", name=f"hidden_{i}"))
    return randomize(model)


def output(model):
    return ops.convert_to_numpy(model(values(5, WIDTH)))


@pytest.mark.parametrize(
    "relax", [LowRank(WIDTH), Basis(WIDTH), Templates(SITES, seed=0)], ids=str
)
def test_without_loss_where_the_relaxation_can_hold_all(relax):
    model = dense_model()
    kernels = [ops.convert_to_numpy(layer.kernel) for layer in model.layers]
    if isinstance(relax, Basis):  # kernels of one common column space
        for layer, kernel in zip(model.layers, kernels, strict=True):
            layer.kernel.assign(kernels[0] @ kernel)
    tied = share(model, "shared", relax=relax, private="bias")
    np.testing.assert_allclose(output(tied), output(model), atol=1e-5)
    assert [layer.name for layer in tied.layers] == [x.name for x in model.layers]


@pytest.mark.parametrize("init", ["mean", "first", "last"])
def test_low_rank_is_the_best_of_the_residual(init):
    model = dense_model()
    kernels = [ops.convert_to_numpy(layer.kernel) for layer in model.layers]
    base = {"mean": np.mean(kernels, axis=0), "first": kernels[0], "last": kernels[-1]}
    tied = share(model, "shared", init=init, relax=LowRank(2))
    for layer, kernel in zip(untie(tied).layers, kernels, strict=True):
        found = ops.convert_to_numpy(layer.kernel) - base[init]
        assert np.linalg.matrix_rank(found, tol=1e-4) <= 2
        sizes = np.linalg.svd(kernel - base[init], compute_uv=False)
        error = np.linalg.norm(kernel - base[init] - found)
        assert error == pytest.approx(np.linalg.norm(sizes[2:]), abs=1e-4)


def test_relaxed_models_are_closer():
    model = dense_model()
    distances = [
        np.abs(output(share(model, "shared", relax=relax)) - output(model)).mean()
        for relax in (None, Scale(), LowRank(4), LowRank(6))
    ]
    assert distances[0] > distances[2] > distances[3]
    kernels = [layer.kernel for layer in model.layers]
    errors = [
        sum(
            float(ops.sum((layer.kernel - kernel) ** 2))
            for layer, kernel in zip(untie(tied).layers, kernels, strict=True)
        )
        for tied in (share(model, "shared"), share(model, "shared", relax=Scale()))
    ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize(
    "relax",
    [LowRank(2), LowRank(2, init="zeros"), [StepEmbedding(), Scale()]],
    ids=["svd", "zeros", "step"],
)
def test_trains_saves_and_unties(relax, tmp_path):
    tied = share(dense_model(), "cycle:2", relax=relax)
    assert isinstance(tied.layers[0], Relaxed)
    tied.compile("sgd", "mse", run_eagerly=True)
    tied.train_on_batch(values(4, WIDTH), values(4, WIDTH))
    tied.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.count_params() == tied.count_params()
    np.testing.assert_array_equal(output(loaded), output(tied))
    np.testing.assert_array_equal(output(untie(tied)), output(tied))


def test_layers_without_kernels_are_tied_as_they_are():
    model = keras.Sequential([keras.Input((6, WIDTH))])
    for _ in range(3):
        model.add(layers.DepthwiseConv1D(3, padding="same"))
        model.add(layers.Dense(WIDTH, "relu"))
    tied = share(randomize(model), "shared", relax=LowRank(2))
    depthwise, dense = 4 * WIDTH, WIDTH * WIDTH + WIDTH
    assert tied.count_params() == depthwise + dense + 3 * 2 * 2 * WIDTH


def test_nothing_to_relax():
    model = keras.Sequential([keras.Input((6, WIDTH))])
    for _ in range(3):
        model.add(layers.LSTM(WIDTH, return_sequences=True))
    with pytest.raises(ValueError, match=r"`relax` acts on .* none of the 3 layers"):
        share(model, "shared", relax=LowRank(2))


def test_rank_larger_than_the_kernel():
    with pytest.raises(ValueError, match=r"`rank` must be at most .*rank=9"):
        share(dense_model(), "shared", relax=LowRank(9))


def test_one_relaxation_per_kernel_can_be_fitted():
    with pytest.raises(ValueError, match="fitted by one relaxation per kernel"):
        share(dense_model(), "shared", relax=[Scale(), LowRank(2)])
