"""Layers as a rule writes them: what they compute, out of plain layers and operations.

What a rule writes is code of its author, who is told of a mistake in it by the error
that it raises. A layer's own `call` need not run on symbolic tensors; one that doesn't
stays closed.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import keras

from keras_share.flat.first_sentence import first_sentence
from keras_share.layers.held_weight import HeldWeight
from keras_share.layers.relax.affine import Affine
from keras_share.layers.sublayers import Untracked
from keras_share.layers.variable_map import VariableMap


class Refusal(Exception):  # noqa: N818 (not an error, but the answer no)
    """Why a layer can't be opened."""


@contextmanager
def on_symbols() -> Iterator[None]:
    """Around code that may not run on symbolic tensors: if so, raises `Refusal`."""
    try:
        yield
    except Refusal:
        raise
    except Exception as error:  # whatever code of others raises
        raise Refusal(first_sentence(error)) from error


class LayerUse:
    """One use of a layer or operation, for a rule that writes what it computes.

    Attributes:
        op: The layer or operation.
        stand_ins: What is used in place of variables: of the layer, as given, and of
            the plain layers, as found.

    Args:
        op: The layer or operation.
        stand_ins: What this use has in place of the variables of the layer.
        parts: Plain layers that stand for parts of other layers, one for each part: the
            same for all its uses, which may each have other variables in it. And rows
            of weights.
    """

    def __init__(
        self,
        op: keras.Operation,
        stand_ins: VariableMap,
        parts: dict[tuple[Hashable, ...], Any],
    ):
        self.op = op
        self.stand_ins = VariableMap(stand_ins)
        self._parts = parts

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
        shape = tuple(weights[0].shape)
        return self.call(
            lambda: Affine(shape, scale is not None, offset is not None),
            "affine",
            x,
            weights,
        )

    def dense(
        self, x: Any, kernel: keras.Variable, bias: keras.Variable | None = None
    ) -> Any:
        """`x @ kernel + bias`, weights of the layer."""
        return self.call(
            lambda: keras.layers.Dense(kernel.shape[-1], use_bias=bias is not None),
            kernel.name,
            x,
            [kernel] if bias is None else [kernel, bias],
        )

    def value(self, weight: keras.Variable, x: Any) -> Any:
        """A weight of the layer as a tensor; `x` is one that the layer reads."""
        return self.call(
            lambda: HeldWeight(weight.shape, name=weight.name), weight.name, x, [weight]
        )

    def rows(self, weight: keras.Variable) -> list[keras.Variable]:
        """The rows of a weight of the layer, as weights of their own."""
        given = self.stand_ins.of(weight)
        key = (self.op, id(given))
        if key not in self._parts:
            self._parts[key] = [
                # Not of the numbers themselves: symbolic calls make variables later.
                keras.Variable(
                    keras.initializers.Constant(x),
                    x.shape,
                    trainable=given.trainable,
                    name=weight.name,
                )
                for x in keras.ops.convert_to_numpy(given)
            ]
        return self._parts[key]

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
        return self.part((name, *map(id, weights)), make, x, weights)

    def part(
        self,
        key: tuple[Hashable, ...],
        make: Callable[[], keras.Layer],
        x: Any,
        weights: list[keras.Variable],
    ) -> Any:
        """`call` with a part that `key` tells from others, whatever its weights."""
        return self.part_layer(key, make, x.shape, weights)(x)

    def part_layer(
        self,
        key: tuple[Hashable, ...],
        make: Callable[[], keras.Layer],
        shape: tuple[int | None, ...],
        weights: list[keras.Variable],
    ) -> keras.Layer:
        """The layer of a `part` that is called on tensors of this shape."""
        key = (self.op, *key)
        if key not in self._parts:
            self._parts[key] = make()
            self._parts[key].build(shape)
            self._parts[key].trainable = getattr(self.op, "trainable", True)
        layer = self._parts[key]
        for own, weight in zip(layer.weights, weights, strict=True):
            self.stand_ins[own] = self.stand_ins.of(weight)
        return layer

    def refuse(self, reason: str) -> NoReturn:
        """Leaves this use as it is, in floating point, and reports the reason."""
        raise Refusal(reason)


class Written(keras.layers.Layer):
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

    @property
    def use(self) -> LayerUse:
        """The use of a layer or operation that is written."""
        return self._use.value

    def call(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._function(self.use, *args, **kwargs)
        except Refusal:
            raise
        except Exception as error:
            if hasattr(error, "add_note"):  # since Python 3.11
                name = getattr(self._function, "__name__", self._function)
                op = self.use.op
                error.add_note(f"In '{name}', which writes the layer '{op.name}'.")
            raise
