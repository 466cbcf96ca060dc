"""Search methods are replayed on the tables, and on tasks in their likeness."""

import numpy as np
import pytest
import search_methods
from search_tables.replay import Replay
from search_tables.synthetic import SITES, Synthetic
from search_tables.tables import Table

from keras_share import SharingPattern
from keras_share.search.pareto import hypervolume


@pytest.fixture(scope="module")
def synthetic():
    return Synthetic("spoken-12", seed=0)


@pytest.mark.parametrize(
    "name", [name for name in search_methods.methods() if "GPSampler" not in name]
)
def test_a_method_tries_patterns_and_hands_one_over(name):
    replay = Replay(Table("digits"), seed=0)
    search_methods.methods()[name](replay, 10)
    assert len(replay.tried) == 10 and len(set(replay.tried)) > 3
    assert replay.handed_over[10] in replay.tried
    shares = replay.hypervolumes()
    assert (np.diff(shares) >= 0).all() and 0 < shares[-1] <= 1
    assert (np.diff(replay.best_ranks()) <= 0).all()
    assert list(np.isfinite(replay.handed_ranks())) == [False] * 9 + [True]


def test_ours_on_twelve_sites(synthetic):
    replay = Replay(synthetic, seed=0)
    search_methods.methods()["ours, surrogate, both"](replay, 12)
    assert [str(p) for p in replay.tried[:2]] == ["ABCDEFGHIJKL", "A" * SITES]
    assert 0.4 < replay.hypervolumes()[-1] < 1


def test_costs_are_those_of_the_table(synthetic):
    table = Table("spoken")
    ends = [synthetic.point(SharingPattern(c))[0] for c in ("A" * 12, "ABCDEFGHIJKL")]
    expected = [1 - table.truth[c] for c in ("AAAAAA", "ABCDEF")]
    np.testing.assert_allclose(ends, expected, atol=0.04)
    pattern, rng = SharingPattern("ABABABABABAB"), np.random.default_rng(0)
    drawn = [synthetic.draw(pattern, rng) for _ in range(2000)]
    error, size = synthetic.point(pattern)
    assert np.mean(drawn) == pytest.approx(1 - error, abs=5e-4)
    noise = np.sqrt(table.scores.var(axis=1, ddof=1).mean())
    assert np.std(drawn) == pytest.approx(noise, rel=0.05)
    assert size == pytest.approx(table.bytes("ABABAB"), rel=0.02)


def test_the_reference_is_better_than_random_points(synthetic):
    reference, (worst, whole) = synthetic.reference, synthetic.extent
    assert reference.shape == (10_000, 2)
    drawn = hypervolume(reference[:5000], worst)
    assert drawn < 0.95 * whole
    best = reference[:, 0].min()
    assert best < reference[:5000, 0].min()
    assert Synthetic("spoken-12", seed=1).reference[:, 0].min() != best


def test_tasks_of_a_seed_are_the_same(synthetic):
    pattern = SharingPattern("AABCDBEFAAGH")
    again = Synthetic("spoken-12", seed=0)
    assert again.point(pattern) == synthetic.point(pattern)
    assert Synthetic("spoken-12", seed=1).point(pattern) != synthetic.point(pattern)
