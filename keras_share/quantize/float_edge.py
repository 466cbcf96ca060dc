"""`FloatEdge`: where a quantized model goes over to floating point, and back."""

import json
from typing import Any

import keras

ENTER, LEAVE, BETWEEN = "EnterFloat", "LeaveFloat", "BetweenRanges"


def custom_operator(name: str, inputs: Any) -> Any:
    """An operator of this name for the converter, which doesn't know it."""
    import tensorflow as tf

    quoted = json.dumps(name, ensure_ascii=False)
    custom = f'name: {quoted} attr {{ key: "tfl_fusable_op" value {{ b: true }} }}'

    @tf.function(experimental_implements=custom, autograph=False)
    def operator(x):
        return tf.identity(x)

    return operator(inputs)


@keras.saving.register_keras_serializable(package="keras_share")
class FloatEdge(keras.layers.Layer):
    """Passes numbers on between what is computed in integers and what is not.

    Between integers the converter makes integers of all that has an integer operator,
    also of what was left out. For export an edge becomes an operator that the converter
    doesn't know: it can neither see through it nor round what lies behind. It is taken
    out of the file again.

    Args:
        kind: `ENTER`, before what stays in floating point; `LEAVE`, behind it; or
            `BETWEEN` two ranges, of which the converter would drop one.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(self, kind: str, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.kind = kind
        self.supports_masking = True
        self._marked = False

    def mark(self) -> None:
        """From now on is an operator of its own: for export."""
        self._marked = True

    @property
    def operator(self) -> str:
        """The name of the operator that it then is."""
        return f"{self.kind}:{self.name}"

    def call(self, inputs: Any) -> Any:
        return custom_operator(self.operator, inputs) if self._marked else inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}
