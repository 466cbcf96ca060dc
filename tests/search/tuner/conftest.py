"""Makes searches in a test process fast."""

import gc

import pytest


@pytest.fixture(autouse=True)
def _fast_collection():
    """Keeps KerasTuner's collections from walking what the first searches imported."""
    gc.collect()
    gc.freeze()
