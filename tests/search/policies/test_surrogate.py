"""`Surrogate`: what a Gaussian process on shared pairs of sites can tell."""

import random

import numpy as np
import pytest
from policy_spaces import mixed, patterns_only
from sklearn.gaussian_process.kernels import RBF, DotProduct

from keras_share.search.policies.surrogate import Similarities, Surrogate, _Similarity


def drawn(space, count, seed=0):
    rng = random.Random(seed)
    found = {}
    while len(found) < count:
        point = space.draw(rng)
        found[space.key(point)] = point
    return space.vectors(list(found.values()))


@pytest.mark.parametrize("space", [patterns_only(6), mixed()])
def test_kernel_equals_that_of_scikit_learn(space):
    vectors = drawn(space, 12)
    similarities = Similarities(vectors[:8], space.blocks).set_others(vectors[8:])
    lengths = 0.5 + np.arange(len(space.blocks))
    kernel = _Similarity(similarities, linear=0.7, smooth=0.4, lengths=lengths)
    smooth = np.ones((12, 12))
    for block, length in zip(space.blocks, lengths, strict=True):
        smooth *= RBF(length)(vectors[:, block])
    expected = 0.7 * DotProduct(1.0)(vectors) + 0.4 * smooth
    rows = np.arange(12)[:, None]
    np.testing.assert_allclose(kernel(rows[:8], rows), expected[:8], atol=1e-12)
    np.testing.assert_allclose(kernel(rows, rows[:8]), expected[:, :8], atol=1e-12)
    np.testing.assert_allclose(kernel.diag(rows), np.diag(expected))


def test_gradient_of_the_kernel():
    space = mixed()
    vectors = drawn(space, 6)
    similarities = Similarities(vectors, space.blocks)
    kernel = _Similarity(similarities, lengths=np.full(len(space.blocks), 1.3))
    rows = np.arange(6)[:, None]
    _, gradient = kernel(rows, eval_gradient=True)
    assert gradient.shape == (6, 6, len(kernel.theta))
    for i, step in enumerate(1e-6 * np.eye(len(kernel.theta))):
        above = kernel.clone_with_theta(kernel.theta + step)(rows)
        below = kernel.clone_with_theta(kernel.theta - step)(rows)
        np.testing.assert_allclose(gradient[..., i], (above - below) / 2e-6, atol=1e-6)


def test_sums_over_pairs_are_learned_from_few():
    space = patterns_only(6)
    vectors = drawn(space, 203)
    weights = np.random.default_rng(0).normal(size=vectors.shape[1])
    values = 10 + 3 * vectors @ weights
    similarities = Similarities(vectors[:40], space.blocks).set_others(vectors[40:])
    surrogate = Surrogate(similarities, is_noisy=False).fit(range(40), values[:40])
    mean, deviation = surrogate.predict(range(40, 203))
    assert np.abs(mean - values[40:]).max() < 0.1 * values.std()
    assert surrogate.noise < 0.1 * values.std()
    assert deviation.max() < 0.3 * values.std()


def test_noise_is_told_from_what_it_hides():
    space = patterns_only(6)
    vectors = drawn(space, 150)
    rng = np.random.default_rng(0)
    hidden = 5 * vectors @ rng.normal(size=vectors.shape[1])
    values = hidden + rng.normal(scale=hidden.std(), size=150)
    similarities = Similarities(vectors, space.blocks)
    surrogate = Surrogate(similarities).fit(range(150), values)
    assert 0.7 < surrogate.noise / hidden.std() < 1.3
    mean, deviation = surrogate.predict(range(150))
    assert np.std(mean - hidden) < 0.5 * np.std(values - hidden)
    assert deviation.max() < surrogate.noise  # of the mean, not of an observation


def test_equal_values():
    space = patterns_only(4)
    vectors = drawn(space, 6)
    similarities = Similarities(vectors[:3], space.blocks).set_others(vectors[3:])
    mean, deviation = Surrogate(similarities).fit(range(3), np.ones(3)).predict([4, 5])
    np.testing.assert_allclose(mean, 1, atol=1e-6)
    assert np.isfinite(deviation).all()


def test_conditioning_keeps_the_kernel():
    space = patterns_only(4)
    vectors = drawn(space, 12)
    values = vectors.sum(axis=1)
    similarities = Similarities(vectors, space.blocks)
    surrogate = Surrogate(similarities).fit(range(8), values[:8])
    noise, (_, before) = surrogate.noise, surrogate.predict([11])
    surrogate.condition(range(12), values)
    assert surrogate.noise == noise
    assert surrogate.predict([11])[1] < before


@pytest.mark.parametrize(("sign", "is_alike"), [(1, True), (-1, False)])
def test_an_earlier_search_counts_as_far_as_it_is_alike(sign, is_alike):
    space = patterns_only(6)
    vectors = drawn(space, 120)
    rng = np.random.default_rng(0)
    hidden = 5 * vectors @ rng.normal(size=vectors.shape[1])
    other = 5 * vectors @ rng.normal(size=vectors.shape[1])
    # The earlier one has other units, and if it is not alike, other likes.
    earlier = 100 + 7 * (hidden if is_alike else other)
    values = np.concatenate([earlier[:50], hidden[50:70]])
    is_earlier = np.arange(70) < 50
    similarities = Similarities(vectors[:70], space.blocks, is_earlier[:70])
    similarities.set_others(vectors[70:])
    surrogate = Surrogate(similarities).fit(range(70), values)
    alone = Similarities(vectors[50:70], space.blocks).set_others(vectors[70:])
    without = Surrogate(alone).fit(range(20), hidden[50:70])

    def error(predicted):
        return np.mean((predicted - hidden[70:]) ** 2)

    found = error(surrogate.predict(range(70, 120))[0])
    least = error(without.predict(range(20, 70))[0])
    assert found < (0.5 if is_alike else 1.3) * least
    assert sign * surrogate._kernel.k1.transfer > sign * 0.3


def test_gradient_between_searches():
    space = patterns_only(4)
    vectors = drawn(space, 6)
    is_earlier = [True, False] * 3
    similarities = Similarities(vectors, space.blocks, is_earlier)
    kernel = _Similarity(similarities)
    rows = np.arange(6)[:, None]
    _, gradient = kernel(rows, eval_gradient=True)
    assert gradient.shape == (6, 6, len(kernel.theta)) == (6, 6, 4)
    for i, step in enumerate(1e-6 * np.eye(4)):
        above = kernel.clone_with_theta(kernel.theta + step)(rows)
        below = kernel.clone_with_theta(kernel.theta - step)(rows)
        np.testing.assert_allclose(gradient[..., i], (above - below) / 2e-6, atol=1e-6)
