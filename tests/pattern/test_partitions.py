"""All partitions of some sites: counted, listed, ranked and drawn."""

import random
from collections import Counter
from itertools import product

import numpy as np
import pytest

from keras_share.pattern.sharing_pattern import SharingPattern

BELL = [1, 1, 2, 5, 15, 52, 203, 877, 4140]
STIRLING_6 = [0, 1, 31, 90, 65, 15, 1]


def brute_force(n, max_groups=None):
    """Every distinct partition among all label strings, by canonical form."""
    patterns = {SharingPattern(labels) for labels in product(range(n), repeat=n)}
    return {p for p in patterns if max_groups is None or p.num_groups <= max_groups}


@pytest.mark.parametrize("n", range(1, 7))
def test_all_yields_each_partition_once_in_order(n):
    for max_groups in [None, *range(1, n + 2)]:
        patterns = list(SharingPattern.all(n, max_groups))
        assert patterns == sorted(brute_force(n, max_groups))
        assert len(patterns) == SharingPattern.count(n, max_groups)


def test_all_is_lazy():
    patterns = SharingPattern.all(48)
    assert next(patterns) == SharingPattern.shared(48)
    assert str(next(patterns)) == "A" * 47 + "B"


def test_count_is_exact():
    assert [SharingPattern.count(n) for n in range(1, 9)] == BELL[1:]
    assert [SharingPattern.count(6, k) for k in range(1, 7)] == list(
        np.cumsum(STIRLING_6)[1:]
    )
    # Bell(26), from OEIS A000110.
    assert SharingPattern.count(26) == 49631246523618756274
    assert SharingPattern.count(2000, max_groups=2) == 2**1999


@pytest.mark.parametrize("max_groups", [None, 1, 2, 3, 4, 9])
@pytest.mark.parametrize("n", range(1, 7))
def test_rank_and_from_rank_are_inverse(n, max_groups):
    for i, pattern in enumerate(SharingPattern.all(n, max_groups)):
        assert pattern.rank(max_groups) == i
        assert SharingPattern.from_rank(i, n, max_groups) == pattern


def test_rank_works_at_48_sites():
    last = SharingPattern.count(48) - 1
    assert SharingPattern.from_rank(last, 48) == SharingPattern.unshared(48)
    pattern = SharingPattern.cycle_rev(48, 7)
    assert SharingPattern.from_rank(pattern.rank(), 48) == pattern


@pytest.mark.parametrize("rng", [random.Random(0), np.random.default_rng(0)])
@pytest.mark.parametrize("max_groups", [None, 2])
def test_sample_is_uniform_over_partitions(rng, max_groups):
    draws = 3000
    seen = Counter(SharingPattern.sample(4, rng, max_groups) for _ in range(draws))
    assert set(seen) == set(SharingPattern.all(4, max_groups))
    expected = draws / len(seen)
    chi_square = sum((k - expected) ** 2 / expected for k in seen.values())
    # 99.99th percentile of chi-square with 14 degrees of freedom; the seed is fixed.
    assert chi_square < 42


def test_sample_is_reproducible():
    assert SharingPattern.sample(48, 3) == SharingPattern.sample(48, 3)
    assert SharingPattern.sample(9, None).num_sites == 9
