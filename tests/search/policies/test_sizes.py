"""Sizes of files, predicted from patterns: against real exports of every pattern."""

import keras
import numpy as np
import pytest
from policy_spaces import patterns_only

import keras_share
from keras_share import SharingPattern
from keras_share.search.policies.surrogate import Surrogate
from keras_share.search.trial.measures import measure_file

PATTERNS = list(SharingPattern.all(4))


@pytest.fixture(scope="module")
def sizes():
    found = []
    for pattern in PATTERNS:
        block = keras.Sequential(
            [
                keras.layers.Dense(64, use_bias=False),
                keras.layers.BatchNormalization(),
                keras.layers.ReLU(),
            ]
        )
        stack = keras_share.SharedStack(block, pattern)
        model = keras.Sequential([keras.Input((64,)), stack])
        measures = measure_file(model, {"quantization": "dynamic"})
        found.append(measures["exported_bytes"])
    return np.array(found)


def test_patterns_of_few_files_tell_the_sizes_of_all(sizes):
    # A kernel has 4 KB. What the sites of a group have of their own is smaller, and
    # folds into a kernel that is used once.
    groups = np.array([p.num_groups for p in PATTERNS])
    assert 300 < np.ptp(sizes[groups == 2]) < 4096
    space = patterns_only(4)
    vectors = space.vectors([{"sharing": p} for p in PATTERNS])
    inputs = np.pad(vectors, [(0, 0), (0, 1)])
    known = [0, 14, 3, 8, 11]
    surrogate = Surrogate(space.size_blocks, is_noisy=False)
    surrogate.fit(inputs[known], sizes[known])
    predicted, _ = surrogate.predict(inputs)
    assert (np.abs(predicted / sizes - 1) < 0.06).all()
