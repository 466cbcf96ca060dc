"""The order of files, and what is collected."""

import gc

import pytest

# Those that take longest come first: at the end, one process would wait for another.
FIRST = ("test_imports.py", "test_compress.py", "test_launch.py", "test_roll.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in FIRST)


def pytest_collection_finish():
    """Spares each collection the walk through all of Keras and TensorFlow."""
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _fast_collection():
    """Nor through what earlier modules left: KerasTuner collects in every trial."""
    gc.collect()
    gc.freeze()
