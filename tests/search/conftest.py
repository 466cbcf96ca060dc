"""Makes searches in a test process fast."""

import gc

import pytest


@pytest.fixture(autouse=True, scope="module")
def fast_collection():
    """Keeps KerasTuner's `gc.collect` in every trial from walking all of TensorFlow."""
    gc.freeze()
    yield
    gc.unfreeze()
