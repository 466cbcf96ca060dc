"""A use of a relaxed kernel, computed on activations."""

import string
from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from keras_share.flat.opened import StandIns, Variants
from keras_share.layers.relax.affine import Affine
from keras_share.layers.relax.kernel import Kernel, einsum_axes
from keras_share.layers.relax.relaxed import RelaxedKernel
from keras_share.layers.sublayers import Untracked


class KernelUse:
    """What a relaxation may do with activations, in its `call`.

    Attributes:
        weights: The variables of the relaxation that this use has, by name.
    """

    def __init__(
        self,
        kernel: Kernel,
        weights: dict[str, keras.Variable],
        linear: Callable[..., Any],
        call: Callable[..., Any],
    ):
        self.weights = weights
        self._kernel = kernel
        self._linear = linear
        self._call_part = call

    def linear(self, x: Any, name: str | None = None) -> Any:
        """What the shared kernel computes, or a weight of its shape in its place."""
        if name is None:
            return self._linear(x)
        return self._call("linear", name, x, lambda: linear_layer(self._kernel, name))

    def inner(self, x: Any, name: str) -> Any:
        """What a kernel of shape `kernel.inner_shape(rank)` computes."""
        rank = self.weights[name].shape[-1]
        return self._call("in", name, x, lambda: _inner(self._kernel, rank, name))

    def outer(self, x: Any, name: str) -> Any:
        """What a kernel of shape `kernel.outer_shape(rank)` computes."""
        return self._call("out", name, x, lambda: _outer(self._kernel, name))

    def scale(self, x: Any, name: str) -> Any:
        """`x` times a weight of the shape of its last axes."""
        shape = tuple(self.weights[name].shape)
        return self._call(
            "scale", name, x, lambda: Affine(shape, offset=False, name=name)
        )

    def mix(self, outputs: list[Any], name: str) -> Any:
        """The sum of `outputs`, each times a value of a weight of that length."""
        x = ops.stack(outputs, axis=-1)
        return self._call("mix", name, x, lambda: _mixture(x, name))

    def _call(self, role: str, name: str, x: Any, make: Callable) -> Any:
        return self._call_part(make, (role, name), x, [self.weights[name]])


class RelaxedUse(layers.Layer):
    """What a layer with a relaxed kernel computes, out of plain layers.

    The kernel of such a use is a function of the shared kernel, and would be a
    constant of its own in a file. Here the shared kernel is that of a layer of its
    own, and what differs from use to use stands beside it.

    Args:
        relaxed: The kernel of the layer, with the weights that this use has.
        bias: The variable that it has as bias, or None.
        variants: Where the layers inside come from.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(
        self,
        relaxed: RelaxedKernel,
        bias: keras.Variable | None,
        variants: Variants,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._relaxed = relaxed
        self._bias = Untracked(bias)  # a variable of another layer
        self._variants = variants
        self._stand_ins = Untracked({})

    @property
    def stand_ins(self) -> StandIns:
        """By id of a variable of the plain layers, the one in its place."""
        return self._stand_ins.value

    def call(self, inputs: Any) -> Any:
        relaxed, layer, bias = self._relaxed, self._relaxed.kernel.layer, self._bias
        bias = bias.value
        inside = bias is not None and all(r.additive for r in relaxed.chain)

        def linear(x):
            return self._part(
                lambda: linear_layer(relaxed.kernel, "linear", use_bias=inside),
                ("linear",),
                x,
                [relaxed.shared, *([bias] if inside else [])],
            )

        function = linear
        parts = zip(relaxed.chain, relaxed.weights, strict=True)
        for position, (relaxation, weights) in enumerate(parts):
            call = _bind(self._part, position)
            use = KernelUse(relaxed.kernel, weights, function, call)
            function = _bind_use(relaxation.call, use)
        y = function(inputs)
        if bias is not None and not inside:
            shape = tuple(bias.shape)
            y = self._part(
                lambda: Affine(shape, scale=False, name="bias"), ("bias",), y, [bias]
            )
        if layer.activation is not keras.activations.linear:
            y = layers.Activation(layer.activation, name="activation")(y)
        return y

    def _part(
        self, make: Callable, role: tuple, x: Any, weights: list[keras.Variable]
    ) -> Any:
        key = (id(self._relaxed.kernel.layer), *role)
        part = self._variants.get(key, make, x)
        for own, weight in zip(part.weights, weights, strict=True):
            self.stand_ins[id(own)] = weight
        return part(x)


def _bind(part: Callable, position: int) -> Callable:
    return lambda make, role, *args: part(make, (position, *role), *args)


def _bind_use(call: Callable, use: KernelUse) -> Callable:
    return lambda x: call(x, use)


def linear_layer(kernel: Kernel, name: str, use_bias: bool = False) -> keras.Layer:
    """A layer like that of a kernel, without its activation."""
    layer = kernel.layer
    if isinstance(layer, layers.Dense):
        return layers.Dense(layer.units, use_bias=use_bias, name=name)
    if isinstance(layer, layers.EinsumDense):
        config = layer.get_config()
        axes = config["bias_axes"] if use_bias else None
        return layers.EinsumDense(
            layer.equation, config["output_shape"], bias_axes=axes, name=name
        )
    return _convolution(layer, layer.filters, name, use_bias)


def _inner(kernel: Kernel, rank: int, name: str) -> keras.Layer:
    layer = kernel.layer
    if isinstance(layer, layers.Dense):
        return layers.Dense(rank, use_bias=False, name=name)
    if isinstance(layer, layers.EinsumDense):
        inputs, summed, kept, lead, letter = _einsum_parts(kernel)
        shape = layer.get_config()["output_shape"]
        shape = [shape] if isinstance(shape, int) else list(shape)
        return layers.EinsumDense(
            f"{inputs},{summed}{letter}->{lead}{letter}",
            [*shape[: len(shape) - len(kept)], rank],
            name=name,
        )
    return _convolution(layer, rank, name, use_bias=False)


def _outer(kernel: Kernel, name: str) -> keras.Layer:
    layer = kernel.layer
    if isinstance(layer, layers.Dense):
        return layers.Dense(layer.units, use_bias=False, name=name)
    if isinstance(layer, layers.EinsumDense):
        _, _, kept, lead, letter = _einsum_parts(kernel)
        return layers.EinsumDense(
            f"{lead}{letter},{letter}{kept}->{lead}{kept}",
            layer.get_config()["output_shape"],
            name=name,
        )
    return type(layer)(layer.filters, 1, use_bias=False, name=name)


def _convolution(
    layer: keras.Layer, filters: int, name: str, use_bias: bool
) -> keras.Layer:
    return type(layer)(
        filters,
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
        data_format="channels_last",
        use_bias=use_bias,
        name=name,
    )


def _einsum_parts(kernel: Kernel) -> tuple[str, str, str, str, str]:
    """Letters of the input, of what is summed and kept, of the rest, and a new one."""
    inputs, axes, outputs = einsum_axes(kernel.layer)
    summed = "".join(axes[axis] for axis in kernel.inputs)
    kept = "".join(axes[axis] for axis in kernel.outputs)
    letter = next(c for c in string.ascii_letters if c not in inputs + axes + outputs)
    return inputs, summed, kept, outputs.removesuffix(kept), letter


def _mixture(x: Any, name: str) -> keras.Layer:
    lead = string.ascii_letters[: len(x.shape) - 1]
    return layers.EinsumDense(f"{lead}z,z->{lead}", x.shape[1:-1], name=name)
