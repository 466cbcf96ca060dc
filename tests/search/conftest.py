"""Makes searches in a test process fast."""

import gc

import pytest

from keras_share.search.project.study import Project


@pytest.fixture(autouse=True, scope="module")
def _fast_collection(tmp_path_factory):
    """Keeps KerasTuner's `gc.collect` in every trial from walking all of SQLAlchemy."""
    Project(tmp_path_factory.mktemp("loads"), None, {"score": "max"})
    gc.collect()
    gc.freeze()
