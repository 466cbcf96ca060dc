import keras
import numpy as np
import pytest
from keras import layers

import keras_share as ks
from keras_share.retrofit.inheritance import inherit
from keras_share.retrofit.moments import input_moments

RNG = np.random.default_rng(0)
CASES = {
    "dense": (lambda: layers.Dense(5), (6, 4)),
    "einsum": (lambda: layers.EinsumDense("abcd,cde->abe", (6, 5)), (6, 3, 4)),
    "conv1d": (lambda: layers.Conv1D(5, 3, padding="causal"), (9, 4)),
    "dilated": (lambda: layers.Conv1D(5, 3, padding="same", dilation_rate=2), (9, 4)),
    "conv2d": (lambda: layers.Conv2D(5, 3, strides=2, padding="same"), (7, 8, 4)),
}


@pytest.mark.parametrize("case", CASES)
def test_moments_are_of_what_the_kernel_multiplies(case):
    make, shape = CASES[case]
    inputs = keras.Input(shape)
    layer = make()
    model = keras.Model(inputs, layer(inputs))
    x = RNG.normal(size=(70, *shape)).astype("float32")
    moments = input_moments(model, x)[layer.kernel]
    # The sum of squares of the outputs, by the moments and by the layer.
    kernel = np.asarray(
        moments.kernel.to_matrix(keras.ops.convert_to_numpy(layer.kernel))
    )
    by_moments = np.diag(kernel.T @ moments.matrix @ kernel)
    outputs = np.asarray(model(x)).reshape(-1, 5)
    if case == "dilated":  # where the number of places is the same
        assert len(outputs) == 70 * 9
    np.testing.assert_allclose(by_moments, (outputs**2).sum(axis=0), rtol=1e-3)


def two_sites():
    """Two layers of one kind, which see different parts of their inputs."""
    inputs = keras.Input((8,))
    only = np.repeat([1.0, 0.0], 4).astype("float32")
    first = layers.Dense(8, use_bias=False, name="first")(inputs * only)
    second = layers.Dense(8, use_bias=False, name="second")(inputs * (1 - only))
    return keras.Model(inputs, [first, second])


def test_sites_that_see_different_inputs_lose_nothing():
    model = two_sites()
    x = RNG.normal(size=(200, 8)).astype("float32")
    aim = model(x)
    groups = [["first", "second"]]
    shared = ks.share(model, groups, data=x)
    assert shared.count_params() == 64
    for got, wanted in zip(shared(x), aim, strict=True):
        np.testing.assert_allclose(got, wanted, atol=0.01)
    mean = ks.share(model, groups)(x)
    assert np.abs(mean[0] - aim[0]).max() > 0.1


def test_a_candidate_inherits_what_is_closest_on_the_data():
    def network(pattern):
        stack = ks.SharedStack(layers.Dense(6, use_bias=False), pattern, name="stack")
        return keras.Sequential([keras.Input((6,)), stack])

    donor = network("AB")
    first, second = donor.get_weights()
    # The second site meets only what the first one puts out: its first three numbers.
    first = np.zeros_like(first)
    first[3:, :3] = np.eye(3)
    donor.set_weights([first, second])
    x = np.concatenate([np.zeros((300, 3)), RNG.normal(size=(300, 3))], axis=1)
    model = network("AA")
    inherit(model, donor, data=x.astype("float32"))
    [kernel] = model.get_weights()
    np.testing.assert_allclose(kernel[3:], first[3:], atol=0.01)
    np.testing.assert_allclose(kernel[:3], second[:3], atol=0.01)


def test_data_and_another_start_exclude_each_other():
    with pytest.raises(ValueError, match=r"in place of their mean.*init='first'"):
        ks.share(two_sites(), [["first", "second"]], init="first", data=np.ones((1, 8)))


def test_targets_are_no_data():
    x, y = np.ones((4, 8), "float32"), np.ones(4)
    with pytest.raises(ValueError, match=r"1 array\(s\), without targets\. Received"):
        ks.share(two_sites(), [["first", "second"]], data=(x, y))
