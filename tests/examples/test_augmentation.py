"""Recordings and features are changed by no more than is said."""

import numpy as np
import pytest
from keyword_parts.augmentation import Augmentation, disguised_features
from keyword_parts.tones import tones


@pytest.fixture(scope="module")
def recordings():
    return tones(3, 5, 2, seconds=0.5)


def test_augmentation_that_changes_nothing(recordings):
    rng = np.random.default_rng(0)
    none = Augmentation(0, 0, 0, 300, 0, 0)
    x = recordings.x
    np.testing.assert_allclose(none.disguise(x, rng), x, atol=1e-6)
    np.testing.assert_array_equal(none.mask(x[..., None], rng), x[..., None])


def test_disguises(recordings):
    rng = np.random.default_rng(0)
    x = recordings.x
    shifted = Augmentation(0.2, 0, 0, 300).disguise(x, rng)
    moves = [
        np.argmax(np.correlate(a, b, "full")) for a, b in zip(shifted, x, strict=True)
    ]
    moves = np.array(moves) - (x.shape[1] - 1)
    assert 0.1 * x.shape[1] < np.abs(moves).max() <= 0.2 * x.shape[1]
    louder = Augmentation(0, 0, 6, 300).disguise(x / 4, rng)
    decibels = 10 * np.log10((louder**2).sum(axis=1) / (x**2 / 16).sum(axis=1))
    assert 4 < np.abs(decibels).max() <= 6.001
    noisy = Augmentation(0, 0, 0, 10).disguise(x / 4, rng) - x / 4
    decibels = 10 * np.log10((noisy**2).sum(axis=1) / (x**2 / 16).sum(axis=1))
    assert -51 < decibels.min() < -40 and -20 < decibels.max() < -9


def test_warped_features_keep_what_is_in_the_middle():
    rng = np.random.default_rng(0)
    x = np.tile(np.arange(21.0)[None, :, None], (200, 1, 6)) + np.arange(6) * 100
    same = Augmentation(tone=0).warp(x, rng)
    np.testing.assert_array_equal(same, x)
    slower = Augmentation(tempo=2.0, tone=0).warp(x, rng)
    assert np.all(np.abs(slower[:, 10, 0] - 10) <= 1)
    # At half the speed frames are twice in it, at double speed half of it is silent.
    twice = np.mean(np.diff(slower[:, :, 0], axis=1) == 0, axis=1)
    silent = np.mean(slower[:, :, 1] == 0, axis=1)
    assert 0.4 < twice.max() < 0.6 and 0.4 < silent.max() < 0.6 and silent.min() == 0
    moved = Augmentation(shift_mels=2, tone=0).warp(x, rng) - x
    assert set(np.unique(moved[:, :, 2:4])) == {-200, -100, 0, 100, 200}
    assert moved[:, :, 0].min() == 0 and moved[:, :, 5].max() == 0


def test_another_tone_is_smooth_over_the_bands_and_leaves_silence():
    rng = np.random.default_rng(0)
    x = np.full((500, 9, 10), 3.0)
    x[:, 4] = 0
    toned = Augmentation(tone=1.5).warp(x, rng)
    assert not toned[:, 4].any()
    curves = toned[:, 0] - 3
    np.testing.assert_array_equal(toned[:, 8] - 3, curves)
    assert 1.4 < np.abs(curves).max() <= 1.5 and abs(curves.mean()) < 0.1
    assert np.abs(np.diff(curves)).max() <= 1  # a third of the way between two knots
    np.testing.assert_allclose(np.diff(curves[:, :4], 2), 0, atol=1e-9)
    assert Augmentation(tone=9.0).warp(x, rng).min() == 0


def test_masks():
    rng = np.random.default_rng(0)
    x = np.ones((500, 20, 10), "float32")
    masked = Augmentation(mask_frames=4, mask_mels=3).mask(x, rng) == 0
    frames, mels = masked.all(axis=2).sum(axis=1), masked.all(axis=1).sum(axis=1)
    assert set(frames) == {0, 1, 2, 3, 4} and set(mels) == {0, 1, 2, 3}
    assert (masked.sum(axis=(1, 2)) == 10 * frames + (20 - frames) * mels).all()


def test_disguised_features(recordings):
    def levels(x):
        return np.abs(x[:, :400]).reshape(-1, 20, 20)

    none = Augmentation(0, 0, 0, 300)
    features = disguised_features(recordings.x, levels, none, 2, seed=0)
    for disguise in features:
        np.testing.assert_allclose(disguise, levels(recordings.x), atol=1e-3)
