"""`QuantizedModel`: a quantized model with what it keeps of the one it was made of."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_share.flat.older_keras import OLDER
from keras_share.flat.precision import full_precision
from keras_share.layers.shared_stack import SharedStack
from keras_share.layers.sublayers import sublayers

# Of each stack by name; of one that shares by parts, of each part.
Patterns = Mapping[str, str | Mapping[str, str]]


@keras.saving.register_keras_serializable(package="keras_share")
class QuantizedModel(keras.Model):
    """A Functional model with the outputs and the patterns of the one it was made of.

    Args:
        inputs: As of `keras.Model`.
        outputs: As of `keras.Model`.
        name: As of `keras.Model`.
        patterns: The patterns by the names of the stacks, which are taken apart.
        output_names: What losses and metrics call the outputs. None for the names of
            the layers that were quantized.
        **kwargs: As of `keras.Model`.
    """

    def __init__(
        self,
        inputs: Any,
        outputs: Any,
        name: str | None = None,
        *,
        patterns: Patterns | None = None,
        output_names: Sequence[str] | None = None,
        **kwargs: Any,
    ):
        # Also where it is loaded: by its policy Keras decides about scaling the loss,
        # and a saved optimizer fits only one that is scaled as it was.
        with full_precision():
            super().__init__(inputs, outputs, name=name, **kwargs)
        self.patterns = dict(patterns or {})
        steps: list[str] = vars(self)["output_names"]  # as Keras names them
        if output_names is None:  # as of a clone, which is made without
            output_names = [_layer_of(step) for step in steps]
        self.output_names: list[str] = list(output_names)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "patterns": dict(self.patterns),
            "output_names": list(self.output_names),
        }


if OLDER:  # by the arguments of the constructor it tells which models are Functional

    def _constructor(self: Any, *args: Any, _init=QuantizedModel.__init__, **kw: Any):
        _init(self, *args, **kw)

    QuantizedModel.__init__ = _constructor  # type: ignore[method-assign]

# An .h5 file names the class of a model without its package.
keras.saving.get_custom_objects()["QuantizedModel"] = QuantizedModel


def _layer_of(step: str) -> str:
    """The name of the layer that a quantized step or its range was made of."""
    return step.removesuffix("_range").split(".")[0]


def patterns_of(model: keras.Model) -> dict[str, str | Mapping[str, str]]:
    """The patterns of a model, by the names of its stacks."""
    patterns: dict[str, str | Mapping[str, str]] = {}
    for part in sublayers(model):
        if isinstance(part, SharedStack):
            by_part = {name: str(p) for name, p in part.patterns.items()}
            patterns[part.name] = by_part or str(part.pattern)
        elif isinstance(part, QuantizedModel):
            patterns.update(part.patterns)
    return patterns
