"""Files find our classes: those of earlier versions, and whatever is imported first."""

from pathlib import Path

import keras
import numpy as np
import pytest
from other_backends import BACKENDS
from test_imports import run

import keras_share  # noqa: F401 (which makes its layers known)

FILES = Path(__file__).parent / "files"
THREADS = (
    "import tensorflow as tf\ntf.config.threading.set_intra_op_parallelism_threads(1)\n"
)
ENTRIES = ("blocks", "export.convert", "flat.flatten", "layers.tied", "quantize.rules")


@pytest.fixture(scope="module")
def outputs():
    return dict(np.load(FILES / "outputs_0.1.0.npz"))


@pytest.mark.parametrize(
    ("name", "inputs"), [("layers", "ids"), ("quantized", "x")], ids=str
)
def test_files_of_an_earlier_version_load(name, inputs, outputs):
    # Written before modules moved: Keras goes by the registered name.
    model = keras.models.load_model(FILES / f"{name}_0.1.0.keras")
    actual = np.asarray(model(outputs[inputs]))
    np.testing.assert_allclose(actual, outputs[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["tensorflow", *BACKENDS])
@pytest.mark.parametrize("first", ["keras, keras_share", "keras_share, keras"])
def test_layers_are_known_in_either_order_of_imports(first, backend):
    # Keras, which needs no TensorFlow to load, would import it on other backends.
    others = "" if backend == "tensorflow" else "sys.modules['tensorflow'] = None\n"
    done = run(
        f"import sys\n{others}"
        f"import {first}\n"
        # Its threads can still be chosen.
        f"{'' if others else THREADS}"
        "import numpy as np\n"
        f"outputs = np.load({str(FILES / 'outputs_0.1.0.npz')!r})\n"
        f"model = keras.models.load_model({str(FILES / 'layers_0.1.0.keras')!r})\n"
        "actual = keras.ops.convert_to_numpy(model(outputs['ids']))\n"
        "np.testing.assert_allclose(actual, outputs['layers'], rtol=1e-4, atol=1e-5)\n",
        backend,
    )
    assert done.returncode == 0, done.stderr


def test_any_module_may_be_the_first_to_import_keras():
    # Each in a fork of a process that has all but Keras.
    done = run(
        "import importlib, os, sys, traceback\n"
        "import jax, pandas, scipy, sklearn.base\n"
        "assert 'keras' not in sys.modules\n"
        f"for entry in {ENTRIES}:\n"
        "    if os.fork() == 0:\n"
        "        try:\n"
        "            importlib.import_module(f'keras_share.{entry}')\n"
        "            import keras\n"
        "            name = 'keras_share>FakeQuantize'\n"
        "            assert keras.saving.get_registered_object(name), entry\n"
        "            os._exit(0)\n"
        "        except BaseException:\n"
        "            traceback.print_exc()\n"
        "            os._exit(1)\n"
        "    assert os.wait()[1] == 0, entry\n",
        "jax",
    )
    assert done.returncode == 0, done.stderr
