"""A use of a relaxed kernel, computed on activations."""

import string
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import KerasTensor, layers, ops

from keras_share.flat.written import LayerUse
from keras_share.layers.copying import copy_layer
from keras_share.layers.relax.affine import Affine
from keras_share.layers.relax.kernel import Kernel, einsum_axes
from keras_share.layers.relax.relaxed import RelaxedKernel


class KernelUse:
    """What a relaxation may do with activations, in its `call`.

    Attributes:
        weights: The variables of the relaxation that this use has, by name.

    Args:
        use: The use of the layer that has the kernel.
        kernel: The kernel.
        weights: As the attribute.
        linear: Computes what the kernel does without this relaxation.
        position: That of the relaxation in the kernel's chain.
    """

    def __init__(
        self,
        use: LayerUse,
        kernel: Kernel,
        weights: dict[str, keras.Variable],
        linear: Callable[[KerasTensor], KerasTensor],
        position: int,
    ):
        self.weights = weights
        self._use = use
        self._kernel = kernel
        self._linear = linear
        self._position = position

    def linear(self, x: KerasTensor, name: str | None = None) -> KerasTensor:
        """What the shared kernel computes, or a weight of its shape in its place."""
        if name is None:
            return self._linear(x)
        return self._part("linear", name, x, lambda: _linear(self._kernel, name))

    def inner(self, x: KerasTensor, name: str) -> KerasTensor:
        """What a kernel of shape `kernel.inner_shape(rank)` computes."""
        rank = self.weights[name].shape[-1]
        return self._part("in", name, x, lambda: _inner(self._kernel, rank, name))

    def outer(self, x: KerasTensor, name: str) -> KerasTensor:
        """What a kernel of shape `kernel.outer_shape(rank)` computes."""
        return self._part("out", name, x, lambda: _outer(self._kernel, name))

    def scale(self, x: KerasTensor, name: str) -> KerasTensor:
        """`x` times a weight of the shape of its last axes."""
        shape = tuple(self.weights[name].shape)
        return self._part(
            "scale", name, x, lambda: Affine(shape, offset=False, name=name)
        )

    def mix(self, outputs: list[KerasTensor], name: str) -> KerasTensor:
        """The sum of `outputs`, each times a value of a weight of that length."""
        x = ops.stack(outputs, axis=-1)
        return self._part("mix", name, x, lambda: _mixture(x, name))

    def _part(
        self, role: str, name: str, x: KerasTensor, make: Callable[[], keras.Layer]
    ) -> KerasTensor:
        key = (self._position, role, name)
        return self._use.part(key, make, x, [self.weights[name]])


def write_relaxed(
    relaxed: RelaxedKernel, bias: keras.Variable | None, use: LayerUse, x: KerasTensor
) -> KerasTensor:
    """Writes what a layer with a relaxed kernel computes, out of plain layers.

    The kernel of such a use is a function of the shared kernel, and would be a
    constant of its own in a file. Here the shared kernel is that of a layer of its
    own, and what differs from use to use stands beside it.

    Args:
        relaxed: The kernel of the layer, with the weights that this use has.
        bias: The variable that it has as bias, or None.
        use: The use of the layer.
        x: Its input.
    """
    kernel, layer = relaxed.kernel, relaxed.kernel.layer
    inside = bias is not None and all(r.additive for r in relaxed.chain)

    def product(x: KerasTensor, depth: int) -> KerasTensor:
        """What the kernel computes with the first relaxations of the chain."""
        if depth == 0:
            weights = [relaxed.shared, *([bias] if inside else [])]
            return use.part(
                ("linear",), lambda: _linear(kernel, "linear", inside), x, weights
            )
        position = depth - 1
        linear = partial(product, depth=position)
        kernel_use = KernelUse(use, kernel, relaxed.weights[position], linear, position)
        return relaxed.chain[position].call(x, kernel_use)

    y = product(x, len(relaxed.chain))
    if bias is not None and not inside:
        shape = tuple(bias.shape)
        y = use.part(
            ("bias",), lambda: Affine(shape, scale=False, name="bias"), y, [bias]
        )
    if layer.activation is not keras.activations.linear:
        y = layers.Activation(layer.activation, name="activation")(y)
    return y


# The weights of plain layers are those of others, with what these have beside a value.
_PLAIN = {
    "activation": "linear",
    "activity_regularizer": None,
    "bias_axes": None,
    "bias_constraint": None,
    "bias_regularizer": None,
    "dtype": "float32",
    "kernel_constraint": None,
    "kernel_initializer": "zeros",
    "kernel_regularizer": None,
    "trainable": True,
    "use_bias": False,
}


def _like(kernel: Kernel, name: str, **changes: Any) -> keras.Layer:
    """A plain layer like that of a kernel, with other values of its config."""
    return copy_layer(kernel.layer, name=name, **{**_PLAIN, **changes})


def _linear(kernel: Kernel, name: str, use_bias: bool = False) -> keras.Layer:
    axes = getattr(kernel.layer, "bias_axes", None) if use_bias else None
    return _like(kernel, name, use_bias=use_bias, bias_axes=axes)


def _inner(kernel: Kernel, rank: int, name: str) -> keras.Layer:
    if not isinstance(kernel.layer, layers.EinsumDense):
        return _like(kernel, name, units=rank, filters=rank)
    inputs, summed, kept, lead, letter = _einsum_parts(kernel)
    shape = kernel.layer.get_config()["output_shape"]
    shape = [shape] if isinstance(shape, int) else list(shape)
    return _like(
        kernel,
        name,
        equation=f"{inputs},{summed}{letter}->{lead}{letter}",
        output_shape=[*shape[: len(shape) - len(kept)], rank],
    )


def _outer(kernel: Kernel, name: str) -> keras.Layer:
    if not isinstance(kernel.layer, layers.EinsumDense):
        return _like(kernel, name, kernel_size=1, strides=1, dilation_rate=1)
    _, _, kept, lead, letter = _einsum_parts(kernel)
    return _like(kernel, name, equation=f"{lead}{letter},{letter}{kept}->{lead}{kept}")


def _einsum_parts(kernel: Kernel) -> tuple[str, str, str, str, str]:
    """Letters of the input, of what is summed and kept, of the rest, and a new one."""
    inputs, axes, outputs = einsum_axes(kernel.layer)
    summed = "".join(axes[axis] for axis in kernel.inputs)
    kept = "".join(axes[axis] for axis in kernel.outputs)
    letter = next(c for c in string.ascii_letters if c not in inputs + axes + outputs)
    return inputs, summed, kept, outputs.removesuffix(kept), letter


def _mixture(x: KerasTensor, name: str) -> keras.Layer:
    lead = string.ascii_letters[: len(x.shape) - 1]
    return layers.EinsumDense(f"{lead}z,z->{lead}", x.shape[1:-1], name=name)
