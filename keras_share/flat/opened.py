"""Layers opened by a rule: what they compute, out of plain layers and operations."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_share.layers.relax.affine import Affine
from keras_share.layers.sublayers import Untracked

StandIns = dict[int, keras.Variable]


@dataclass(eq=False)
class Variants:
    """Plain layers that stand for parts of other layers, one for each part.

    The same layer for all uses of a part, which may each have other variables in it.
    """

    _layers: dict[tuple, keras.Layer] = field(default_factory=dict)

    def get(self, key: tuple, make: Callable[[], keras.Layer], x: Any) -> keras.Layer:
        """The layer for a part, built on `x` when it is first needed."""
        if key not in self._layers:
            layer = make()
            layer.build(x.shape)
            self._layers[key] = layer
        return self._layers[key]


class LayerUse:
    """One use of a layer or operation, for a rule that writes what it computes.

    Attributes:
        op: The layer or operation.
        stand_ins: By id of a variable of the plain layers, the one in its place.
    """

    def __init__(self, op: Any, own: StandIns, variants: Variants):
        self.op = op
        self.stand_ins: StandIns = {}
        self._own = own
        self._variants = variants

    def affine(
        self,
        x: Any,
        scale: keras.Variable | None = None,
        offset: keras.Variable | None = None,
    ) -> Any:
        """`x * scale + offset`, weights of the layer along the last axes of `x`."""
        weights = [v for v in (scale, offset) if v is not None]
        if not weights:
            return x
        return self.call(
            lambda: Affine(
                tuple(weights[0].shape), scale is not None, offset is not None
            ),
            "affine",
            x,
            weights,
        )

    def dense(
        self, x: Any, kernel: keras.Variable, bias: keras.Variable | None = None
    ) -> Any:
        """`x @ kernel + bias`, weights of the layer."""
        units = kernel.shape[-1]
        return self.call(
            lambda: keras.layers.Dense(units, use_bias=bias is not None),
            kernel.name,
            x,
            [kernel] if bias is None else [kernel, bias],
        )

    def call(
        self,
        make: Callable[[], keras.Layer],
        name: str,
        x: Any,
        weights: list[keras.Variable],
    ) -> Any:
        """Calls a plain layer that has weights of this one in place of its own.

        Args:
            make: Returns the plain layer.
            name: Of this part; tells it from other parts of the same layer.
            x: Its input.
            weights: What it has in place of `layer.weights`, in that order.
        """
        layer = self._variants.get((id(self.op), name, *map(id, weights)), make, x)
        for own, weight in zip(layer.weights, weights, strict=True):
            self.stand_ins[id(own)] = self._own.get(id(weight), weight)
        return layer(x)


class Opened(keras.layers.Layer):
    """A layer or operation as a rule writes it.

    Args:
        use: What it may use.
        function: Called with `use` and the arguments of the layer.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(self, use: LayerUse, function: Callable[..., Any], **kwargs: Any):
        super().__init__(**kwargs)
        self._use = Untracked(use)  # its layer's variables aren't this one's
        self._function = function

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(self._use.value, *args, **kwargs)
