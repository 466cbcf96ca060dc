"""What the tools for files take in: neither Keras nor TensorFlow."""

import subprocess
import sys

import pytest

EVERYTHING = """
import pkgutil, importlib
for module in pkgutil.walk_packages(keras_share.tflite.__path__, "keras_share.tflite."):
    if not module.name.endswith("_process"):
        importlib.import_module(module.name)
for name in keras_share.tflite.__all__:
    getattr(keras_share.tflite, name)
"""
HEAVY = {"keras", "tensorflow", "pandas", "matplotlib", "rich"}


@pytest.mark.parametrize(
    "code, heavy",
    [("", HEAVY | {"numpy", "ai_edge_litert"}), (EVERYTHING, HEAVY)],
    ids=["the door", "everything"],
)
def test_imports(code, heavy):
    code = f"import sys, keras_share.tflite\n{code}\nprint({heavy} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
