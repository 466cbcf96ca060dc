"""The order of files, what is collected, and the seed of each test."""

import gc
import zlib
from unittest import mock

import keras
import pytest

# Those that take longest come first: at the end, one process would wait for another.
FIRST = ("test_imports.py", "test_compress.py", "test_launch.py", "test_roll.py")


def pytest_addoption(parser):
    parser.addoption("--seed", default="0", help="Other random weights for every test.")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in FIRST)


def pytest_collection_finish():
    """Spares each collection the walk through all of Keras and TensorFlow."""
    gc.freeze()
    # To count walks through them, too: a tenth of a second in each export.
    gc.get_freeze_count = lambda: 1


@pytest.fixture(autouse=True, scope="module")
def _fast_collection():
    """Nor through what earlier modules left: KerasTuner collects in every trial."""
    gc.collect()
    gc.freeze()


def _seed(request):
    """The same weights in every run, whatever ran before: a rounding at a jump can turn
    a run red. `--seed` asks for others.
    """
    name = request.node.nodeid + request.config.getoption("seed")
    keras.utils.set_random_seed(zlib.crc32(name.encode()))


# What is made once for a module is made before its first test is seeded.
_seeded_module = pytest.fixture(_seed, autouse=True, scope="module")


@pytest.fixture(autouse=True)
def _seeded_test(request):
    """TensorFlow's cache of kernels is left as it is: a tenth of the time."""
    with mock.patch("tensorflow.python.pywrap_tfe.TFE_ContextClearCaches"):
        _seed(request)
