"""Products and look-ups in forms of which TFLite's converter keeps one matrix once."""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_share.layers.transposed import Transposed


class StackProduct(keras.layers.Wrapper):
    """Computes a `Dense` or `Transposed` as the product with a stack of one matrix.

    A product with a constant matrix becomes FULLY_CONNECTED, which stores the rows
    that make its outputs, each with a scale of its own in int8. Of a matrix that is
    used in both directions that makes two. A product of stacks becomes BATCH_MATMUL,
    which takes the same bytes in either direction, with one scale.

    Args:
        layer: A `Dense`, or a `Transposed`.
        rounding: If the matrix was rounded to integers in training, how.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(
        self, layer: keras.Layer, rounding: "Rounding | None" = None, **kwargs: Any
    ):
        super().__init__(layer, **kwargs)
        self._rounding = rounding

    def call(self, inputs: Any) -> Any:
        layer: keras.Layer = getattr(self.layer, "quantized_layer", self.layer)
        if isinstance(layer, Transposed):
            looked_up = isinstance(layer.source, keras.layers.Embedding)
            stored = layer.matrix if looked_up else ops.transpose(layer.matrix)
        else:
            looked_up, stored = False, ops.transpose(layer.kernel)
        by_rows = looked_up or not isinstance(layer, Transposed)
        x = _product(inputs, stored, by_rows, self._rounding)
        if layer.bias is not None:
            x = ops.add(x, layer.bias)
        return layer.activation(x)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)


class Place(keras.layers.Layer):
    """The places of the largest or smallest numbers along an axis.

    For zeros below zero `keras.ops.argmax` looks at bits, for which TFLite has nothing.

    Args:
        op: The operation of Keras that the layer stands for.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(self, op: keras.Operation, **kwargs: Any):
        super().__init__(**kwargs)
        self._op = op

    def call(self, inputs: Any) -> Any:
        import tensorflow as tf

        op = self._op
        find = tf.argmax if type(op).__name__ == "Argmax" else tf.argmin
        places = find(inputs, op.axis, output_type="int32")
        return ops.expand_dims(places, op.axis) if op.keepdims else places


class Sum(keras.layers.Layer):
    """Adds tensors.

    `keras.ops.add` takes one with a single axis that is longer than 1, as many have in
    a batch of one, for a bias: it reshapes it first, which takes operators in the file
    and has no integers of 16 bits, and may add it along another axis.
    """

    def call(self, inputs: list[Any]) -> Any:
        import tensorflow as tf

        return functools.reduce(tf.add, inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        tensors = [keras.KerasTensor(shape) for shape in input_shape]
        return functools.reduce(ops.add, tensors).shape


class RoundedTable(keras.layers.Wrapper):
    """Looks up ids in the table of an `Embedding` that was rounded in training.

    Args:
        layer: A `QuantizeWeights` of an `Embedding`.
        rounding: How the table was rounded.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(self, layer: keras.Layer, rounding: "Rounding", **kwargs: Any):
        super().__init__(layer, **kwargs)
        self._rounding = rounding

    def call(self, inputs: Any) -> Any:
        import tensorflow as tf

        table = self._rounding(self.layer.quantized_layer.embeddings)
        return tf.gather(table, ops.cast(inputs, "int32"))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)


class Rounding:
    """Marks a matrix with the range of its integers, for the converter.

    Two equal marks on one matrix become one and are lost, so that each has a range
    that is larger than the one before by the least there is.
    """

    def __init__(self, matrix: keras.Variable):
        self._matrix = matrix
        self._limit: np.float32 | None = None

    def measure(self) -> None:
        """Takes the range from the present values; nothing is marked before."""
        self._limit = np.abs(ops.convert_to_numpy(self._matrix)).max()

    def __call__(self, matrix: Any) -> Any:
        import tensorflow as tf

        if self._limit is None:
            return matrix
        self._limit = np.nextafter(self._limit, np.float32(np.inf))
        limit = float(self._limit)
        return tf.quantization.fake_quant_with_min_max_args(
            matrix, -limit, limit, narrow_range=True
        )


class ReversedTable(keras.layers.Wrapper):
    """A `ReversibleEmbedding` whose two directions read one matrix.

    Args:
        layer: The layer.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        if reverse:
            return _product(inputs, self.layer.embeddings, by_rows=True)
        return self.layer(inputs)

    def compute_output_spec(self, inputs: Any, reverse: bool = False) -> Any:
        return self.layer.compute_output_spec(inputs, reverse=reverse)

    @staticmethod
    def fits(layer: keras.Layer) -> bool:
        """Whether a layer does no more than this one computes."""
        return (
            getattr(layer, "tie_weights", False)
            and layer.logit_soft_cap is None
            and layer.reverse_dtype in (None, "float32")
        )


def _product(
    inputs: Any, stored: Any, by_rows: bool, rounding: Rounding | None = None
) -> Any:
    """The product of the last axis with a matrix as it is stored, or its transpose."""
    import tensorflow as tf

    x = ops.reshape(inputs, (1, -1, inputs.shape[-1]))
    # Rounded as a stack: between the rounding and the product nothing may stand.
    stack = stored[None] if rounding is None else rounding(stored[None])
    x = tf.linalg.matmul(x, stack, transpose_b=by_rows)
    return ops.reshape(x, (*ops.shape(inputs)[:-1], x.shape[-1]))
