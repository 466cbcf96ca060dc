"""The inputs and outputs of a model's file: their names, order and types."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_share.flat import names as flat_names
from keras_share.quantize.quantization import Quantization
from keras_share.tflite.file import flatbuffer

_INTEGERS = {8: ("int8", "uint8"), 16: ("int16",), None: ()}


@dataclass(frozen=True)
class Ends:
    """What a file takes and gives.

    Attributes:
        inputs: Names of the inputs, in the order of `model.inputs`.
        outputs: Names of the outputs, in the order of `keras.tree.flatten`.
        types: The type of inputs that are no integers in the model, and of outputs.
    """

    inputs: list[str]
    outputs: list[str]
    types: tuple[str, str]

    @property
    def keys(self) -> list[str]:
        """What the converter calls the inputs.

        It takes names of Python's arguments only, and orders by them.
        """
        return [f"input_{i:03}" for i in range(len(self.inputs))]


def check_types(types: tuple[str, str], quantization: Quantization) -> None:
    """Raises ValueError if a file that is quantized so can't have these ends."""
    choices = "float32", *_INTEGERS[quantization.activations]
    for name, chosen in zip(("input", "output"), types, strict=True):
        if chosen not in choices:
            raise ValueError(
                f"`inference_{name}_type` must be one of {', '.join(choices)} for a "
                f"file of the kind '{quantization}'. "
                f"Received: inference_{name}_type={chosen!r}"
            )


def put_in_order(model: flatbuffer.schema.ModelT, ends: Ends) -> None:
    """Gives a parsed file its inputs and outputs in the model's order, and names."""
    [signature] = model.signatureDefs
    graph = model.subgraphs[signature.subgraphIndex]
    takes, gives = signature.inputs, signature.outputs
    for found, names in ((takes, ends.keys), (gives, ends.outputs)):
        found.sort(key=lambda end: names.index(flatbuffer.text(end.name)))
    for end, name in zip(takes, ends.inputs, strict=True):
        end.name = name.encode()
    graph.inputs = np.array([end.tensorIndex for end in takes], np.int32)
    graph.outputs = np.array([end.tensorIndex for end in gives], np.int32)


def output_names(model: keras.Model, output: Any) -> list[str]:
    """Names for the outputs of a model's file, in the order of `keras.tree.flatten`.

    They are the keys of a dict, or the names of the layers that the outputs come from;
    a number where that gives one name to several.

    Args:
        model: The user's model.
        output: The output of the rebuilt one, in the same structure.
    """
    names = flat_names.output_names(model)
    if isinstance(output, dict):
        paths = [path for path, _ in keras.tree.flatten_with_path(output)]
        names = [".".join(map(str, path)) for path in paths]
    times = Counter(names)
    return [f"output_{i}" if times[x] > 1 else x for i, x in enumerate(names)]
