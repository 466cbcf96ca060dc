"""`Kernel`: how a layer uses its kernel, as a matrix from inputs to outputs."""

import math
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops


@dataclass(frozen=True, eq=False)
class Kernel:
    """The kernel of a layer that maps all its inputs to all its outputs.

    Attributes:
        layer: A built Dense, EinsumDense or (ungrouped, channels last) convolution.
        inputs: The axes of the kernel that are summed over.
        outputs: Its other axes, in the order in which they end the output's shape.
    """

    layer: keras.Layer
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def variable(self) -> keras.Variable:
        """The kernel itself."""
        return self.layer.kernel

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Sizes of the axes that are summed over."""
        return tuple(self.variable.shape[axis] for axis in self.inputs)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Sizes of the axes that the output keeps."""
        return tuple(self.variable.shape[axis] for axis in self.outputs)

    @property
    def num_inputs(self) -> int:
        """Rows of the matrix."""
        return math.prod(self.input_shape)

    @property
    def num_outputs(self) -> int:
        """Columns of the matrix."""
        return math.prod(self.output_shape)

    def inner_shape(self, rank: int) -> tuple[int, ...]:
        """Shape of a kernel like this one with `rank` outputs."""
        return (*self.input_shape, rank)

    def outer_shape(self, rank: int) -> tuple[int, ...]:
        """Shape of a kernel from `rank` channels, at one place, to the outputs."""
        places = (1,) * getattr(self.layer, "rank", 0)
        return (*places, rank, *self.output_shape)

    def to_matrix(self, value: Any) -> Any:
        """A kernel as a matrix of shape `(num_inputs, num_outputs)`."""
        value = ops.transpose(value, (*self.inputs, *self.outputs))
        return ops.reshape(value, (self.num_inputs, self.num_outputs))

    def from_matrix(self, matrix: Any) -> Any:
        """The inverse of `to_matrix`."""
        order = (*self.inputs, *self.outputs)
        value = ops.reshape(matrix, [self.variable.shape[axis] for axis in order])
        return ops.transpose(value, [order.index(axis) for axis in range(len(order))])


def kernel_of(layer: keras.Layer) -> Kernel | None:
    """The kernel of a built layer, or None if it has none of this kind.

    Depthwise and grouped convolutions have none, as a channel of their output depends
    on few of their input; nor have recurrent layers, which run theirs in a loop.
    """
    if isinstance(layer, keras.layers.Dense):
        return Kernel(layer, (0,), (1,))
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum_kernel(layer)
    convolutions = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
    if isinstance(layer, convolutions):
        if layer.groups != 1 or layer.data_format != "channels_last":
            return None
        axes = tuple(range(layer.rank + 2))
        return Kernel(layer, axes[:-1], axes[-1:])
    return None


def _einsum_kernel(layer: keras.layers.EinsumDense) -> Kernel | None:
    inputs, axes, outputs = einsum_axes(layer)
    summed = [axis for axis in axes if axis not in outputs]
    kept = [axis for axis in outputs if axis in axes]
    if any(axis in inputs for axis in kept) or not outputs.endswith("".join(kept)):
        return None
    return Kernel(layer, tuple(map(axes.index, summed)), tuple(map(axes.index, kept)))


def einsum_axes(layer: keras.layers.EinsumDense) -> tuple[str, str, str]:
    """The letters of an EinsumDense: of its input, its kernel and its output."""
    inputs, rest = layer.equation.replace(" ", "").split(",")
    axes, outputs = rest.split("->")
    return inputs, axes, outputs
