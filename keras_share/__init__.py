"""Cross-layer parameter sharing for Keras.

Layers that reuse one set of weights (`SharedStack`, `Tied`), the patterns by which they
do (`SharingPattern`), sharing in models that exist (`share`), quantization-aware
training of such models (`quantize_model`), and their export with the sharing intact
(`export_tflite`, `audit`).

Blocks that repeat are in `keras_share.blocks`, further layers and relaxations in
`keras_share.layers`, what else there is about quantization in `keras_share.quantize`,
tools for any `.tflite` file in `keras_share.tflite`, and the search for a pattern in
`keras_share.search`. Each is imported where it is first used; what works on files takes
in neither Keras nor TensorFlow.
"""

import importlib
from typing import Any

import lazy_loader
import wrapt

# The names are those of `__init__.pyi`.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


@wrapt.when_imported("keras")
def _register_layers(keras: Any) -> None:
    """Makes our layers known to Keras, which loads no others from a file."""
    importlib.import_module("keras_share.registered")
