"""What importing the package takes in, and that layers run on other backends."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from other_backends import BACKENDS, environment

import keras_share

TESTS = Path(__file__).parent


def run(code, backend="tensorflow"):
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment(backend),
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_is_imported_before_it_is_used():
    done = run(
        "import sys, keras_share\n"
        "heavy = {'keras', 'tensorflow', 'numpy', 'pandas', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules)\n"
        "keras_share.SharingPattern\n"
        "assert not heavy & set(sys.modules)\n"
        "keras_share.audit\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    assert done.returncode == 0, done.stderr


def test_the_front_door_is_small_and_complete():
    folders = {"blocks", "layers", "quantize", "search", "stream", "tflite"}
    names = set(keras_share.__all__) - folders - {"__version__"}
    assert len(names) <= 23
    for name in names:
        assert callable(getattr(keras_share, name))
    for name in folders:
        module = getattr(keras_share, name)
        assert all(hasattr(module, inner) for inner in module.__all__)
    with pytest.raises(AttributeError, match="shared_stack"):
        _ = keras_share.shared_stack


def test_jax_is_tested():
    assert "jax" in BACKENDS, "the test extra installs it"


@pytest.mark.parametrize("backend", BACKENDS)
def test_layers_need_only_keras(backend):
    # Keras itself imports pandas where it finds it, and TensorFlow to serialize, but
    # does without; None makes any import fail.
    heavy = ["tensorflow_model_optimization", "keras_tuner", "pandas", "matplotlib"]
    done = run(
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({heavy}))\n"
        "import keras_share.layers\n"
        "assert 'tensorflow' not in sys.modules\n"
        "assert 'keras_share.search' not in sys.modules\n"
        "sys.modules['tensorflow'] = None\n"
        "import keras, keras_share\n"
        "block = keras_share.blocks.TransformerBlock(2, 8)\n"
        "stack = keras_share.SharedStack(block, 'AAB')\n"
        "model = keras.Sequential([keras.Input((3, 4)), stack])\n"
        "model.compile('sgd', 'mse')\n"
        "x = keras.random.normal((2, 3, 4))\n"
        "model.fit(x, x, verbose=0)\n"
        "keras.saving.deserialize_keras_object(\n"
        "    keras.saving.serialize_keras_object(model)\n"
        ")\n",
        backend,
    )
    assert done.returncode == 0, done.stderr


# What goes through many patterns, or asks for shapes, counts, configs and messages, is
# the same on every backend, and tested on TensorFlow.
ON_TENSORFLOW = (
    *(
        "every_p",
        "parts_of",
        "counts_trains",
        "keeps_the_shape",
        "changes_the_channels",
    ),
    *("number_of_weights", "config_round_trip", "keras_file", "errors", "bad_"),
    *("rejects", "example_runs", "mask_of_keras", "mixed_float16", "summary"),
)


@pytest.mark.parametrize("backend", BACKENDS)
def test_layers_pass_their_tests_on_other_backends(backend):
    files = [
        *(f"layers/test_tied{part}.py" for part in ("", "_saved", "_trainable")),
        *(f"layers/test_{name}.py" for name in ("shared_stack", "components")),
        *(f"layers/test_{name}.py" for name in ("embeddings", "transposed")),
        *("blocks", "layers/relax", "layers/test_loop.py::test_shared_statistics"),
    ]
    done = subprocess.run(
        [*(sys.executable, "-m", "pytest", "-x")]
        + [*("-p", "no:cacheprovider", "-p", "no:xdist")]
        + [str(TESTS / name) for name in files]
        + ["-k", f"not ({' or '.join(ON_TENSORFLOW)})"],
        env=environment(backend),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 120
