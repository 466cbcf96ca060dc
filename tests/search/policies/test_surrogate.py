"""`Surrogate`: what a Gaussian process on shared pairs of sites can tell."""

import random

import numpy as np
import pytest
from policy_spaces import mixed, patterns_only
from sklearn.gaussian_process.kernels import RBF, DotProduct

from keras_share.search.policies.surrogate import Surrogate, _Similarity


def drawn(space, count, seed=0):
    rng = random.Random(seed)
    found = {}
    while len(found) < count:
        point = space.draw(rng)
        found[space.key(point)] = point
    vectors = space.vectors(list(found.values()))
    return np.pad(vectors, [(0, 0), (0, 1)])  # of no earlier search


@pytest.mark.parametrize("space", [patterns_only(6), mixed()])
def test_kernel_equals_that_of_scikit_learn(space):
    vectors = drawn(space, 12)
    lengths = 0.5 + np.arange(len(space.blocks))
    kernel = _Similarity(space.blocks, linear=0.7, smooth=0.4, lengths=lengths)
    smooth = np.ones((12, 12))
    for block, length in zip(space.blocks, lengths, strict=True):
        smooth *= RBF(length)(vectors[:, block])
    expected = 0.7 * DotProduct(1.0)(vectors) + 0.4 * smooth
    some = vectors[:8]
    np.testing.assert_allclose(kernel(some, vectors), expected[:8], atol=1e-12)
    np.testing.assert_allclose(kernel(vectors, some), expected[:, :8], atol=1e-12)
    np.testing.assert_allclose(kernel.diag(vectors), np.diag(expected))


def test_gradient_of_the_kernel():
    space = mixed()
    vectors = drawn(space, 6)
    kernel = _Similarity(space.blocks, lengths=np.full(len(space.blocks), 1.3))
    _, gradient = kernel(vectors, eval_gradient=True)
    assert gradient.shape == (6, 6, len(kernel.theta))
    for i, step in enumerate(1e-6 * np.eye(len(kernel.theta))):
        above = kernel.clone_with_theta(kernel.theta + step)(vectors)
        below = kernel.clone_with_theta(kernel.theta - step)(vectors)
        np.testing.assert_allclose(gradient[..., i], (above - below) / 2e-6, atol=1e-6)


def test_sums_over_pairs_are_learned_from_few():
    space = patterns_only(6)
    vectors = drawn(space, 203)
    weights = np.random.default_rng(0).normal(size=vectors.shape[1])
    values = 10 + 3 * vectors @ weights
    surrogate = Surrogate(space.blocks, is_noisy=False).fit(vectors[:40], values[:40])
    mean, deviation = surrogate.predict(vectors[40:])
    assert np.abs(mean - values[40:]).max() < 0.1 * values.std()
    assert surrogate.noise < 0.1 * values.std()
    assert deviation.max() < 0.3 * values.std()


def test_noise_is_told_from_what_it_hides():
    space = patterns_only(6)
    vectors = drawn(space, 150)
    rng = np.random.default_rng(0)
    hidden = 5 * vectors[:, :-1] @ rng.normal(size=vectors.shape[1] - 1)
    values = hidden + rng.normal(scale=hidden.std(), size=150)
    surrogate = Surrogate(space.blocks).fit(vectors, values)
    assert 0.7 < surrogate.noise / hidden.std() < 1.3
    mean, deviation = surrogate.predict(vectors)
    assert np.std(mean - hidden) < 0.5 * np.std(values - hidden)
    assert deviation.max() < surrogate.noise  # of the mean, not of an observation


def test_equal_values():
    space = patterns_only(4)
    vectors = drawn(space, 6)
    surrogate = Surrogate(space.blocks).fit(vectors[:3], np.ones(3))
    mean, deviation = surrogate.predict(vectors[4:])
    np.testing.assert_allclose(mean, 1, atol=1e-6)
    assert np.isfinite(deviation).all()


def test_conditioning_keeps_the_kernel():
    space = patterns_only(4)
    vectors = drawn(space, 12)
    values = vectors.sum(axis=1)
    surrogate = Surrogate(space.blocks).fit(vectors[:8], values[:8])
    noise, (_, before) = surrogate.noise, surrogate.predict(vectors[11:])
    surrogate.condition(vectors, values)
    assert surrogate.noise == noise
    assert surrogate.predict(vectors[11:])[1] < before


@pytest.mark.parametrize(("sign", "is_alike"), [(1, True), (-1, False)])
def test_an_earlier_search_counts_as_far_as_it_is_alike(sign, is_alike):
    space = patterns_only(6)
    vectors = drawn(space, 120)
    rng = np.random.default_rng(0)
    hidden = 5 * vectors[:, :-1] @ rng.normal(size=vectors.shape[1] - 1)
    other = 5 * vectors[:, :-1] @ rng.normal(size=vectors.shape[1] - 1)
    # The earlier one has other units, and if it is not alike, other likes.
    earlier = 100 + 7 * (hidden if is_alike else other)
    values = np.concatenate([earlier[:50], hidden[50:70]])
    vectors[:50, -1] = 1
    surrogate = Surrogate(space.blocks).fit(vectors[:70], values)
    without = Surrogate(space.blocks).fit(vectors[50:70], hidden[50:70])

    def error(predicted):
        return np.mean((predicted - hidden[70:]) ** 2)

    found = error(surrogate.predict(vectors[70:])[0])
    least = error(without.predict(vectors[70:])[0])
    assert found < (0.5 if is_alike else 1.3) * least
    assert sign * surrogate._kernel.k1.transfer > sign * 0.3


def test_gradient_between_searches():
    space = patterns_only(4)
    vectors = drawn(space, 6)
    vectors[::2, -1] = 1
    kernel = _Similarity(space.blocks, transfers=True)
    _, gradient = kernel(vectors, eval_gradient=True)
    assert gradient.shape == (6, 6, len(kernel.theta)) == (6, 6, 4)
    for i, step in enumerate(1e-6 * np.eye(4)):
        above = kernel.clone_with_theta(kernel.theta + step)(vectors)
        below = kernel.clone_with_theta(kernel.theta - step)(vectors)
        np.testing.assert_allclose(gradient[..., i], (above - below) / 2e-6, atol=1e-6)
