"""`QuantizeRule`: how a layer or operation is computed on integers."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import keras

Write = TypeVar("Write", bound=Callable[..., Any])
# Of two operations of these one may undo the other.
ORDERS = ("expand_dims", "moveaxis", "reshape", "squeeze", "swapaxes", "transpose")
Channels = tuple[int, ...] | Callable[[keras.Layer], tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class QuantizeRule:
    """What `quantize_model` does with a layer or operation.

    TFLite computes an operator on integers if its inputs, its weights and its output
    have a quantization range each. The inputs of everything that has a rule get one;
    a rule tells of the weights and the output. Of what TFLite has no integer operator
    for, a rule can write what it computes in terms of what has one.

    The part of TFMOT's `QuantizeConfig`, for layers of Keras 3.

    Attributes:
        weights: Names of the attributes that hold weights to store as integers.
        channels: Axes of these weights that have a range for each index; of a kernel
            usually that of the output channels. `()` for one range. Or a function of
            the layer that returns them.
        min_bits: The fewest bits in which TFLite computes with these weights.
        output: `"own"`: the output has a range of its own. `"input"`: it has that of
            the inputs, which become one, as where values are only moved or selected.
            `"weights"`: that of the weights, as where rows of them are looked up. A
            pair of numbers: TFLite fixes the range, as for a softmax.
        write: Called with a `LayerUse` and the arguments of the layer or operation;
            returns its output, computed with `keras.ops`, plain layers and the
            methods of `LayerUse`. The rules of these apply then, and `weights`,
            `channels` and `output` mean nothing. What it raises is raised, as a mistake
            in it; `use.refuse(reason)` leaves this use in floating point.
        refuse: Called with the layer or operation; returns why it must stay in
            floating point, or None.
        how: What the file computes, in words, for the documentation.
    """

    weights: tuple[str, ...] = ()
    channels: Channels = (-1,)
    min_bits: int = 4
    output: str | tuple[float, float] = "own"
    write: Callable[..., Any] | None = None
    refuse: Callable[..., str | None] = lambda op: None
    how: str = ""

    def __post_init__(self):
        known = ("own", "input", "weights")
        if isinstance(self.weights, str):
            raise ValueError(
                "`weights` must be a tuple of names, as ('kernel',). "
                f"Received: weights={self.weights!r}"
            )
        pair = isinstance(self.output, tuple) and len(self.output) == 2
        if self.output not in known and not pair:
            raise ValueError(
                "`output` must be 'own', 'input', 'weights' or a pair of numbers. "
                f"Received: output={self.output!r}"
            )

    def channel_axes(self, layer: keras.Layer) -> tuple[int, ...]:
        """The axes of the weights of a layer that have a range for each index."""
        return self.channels(layer) if callable(self.channels) else self.channels


_LAYERS: dict[type[keras.Layer] | str, QuantizeRule] = {}
_OPERATIONS: dict[str, QuantizeRule] = {}


def register_rule(kind: type | str, rule: QuantizeRule) -> None:
    """Tells `quantize_model` what to do with a layer or operation.

    Args:
        kind: A class of layers, or the name of an operation in `keras.ops`. A rule for
            a class counts for subclasses that don't override `call`. A class of a
            package that need not be there is told by the name under which it is
            registered with Keras, such as `"keras_hub>PositionEmbedding"`.
        rule: The rule. It replaces the one before, if any.

    Raises:
        TypeError: If `kind` is neither.

    Example:
    >>> import keras, keras_share
    >>> class Gain(keras.layers.Layer):
    ...     def build(self, shape):
    ...         self.gain = self.add_weight(shape=shape[-1:], initializer="ones")
    ...
    ...     def call(self, x):
    ...         return keras.ops.tanh(x * self.gain)
    >>> keras_share.quantize.register_rule(
    ...     Gain,
    ...     keras_share.quantize.QuantizeRule(
    ...         write=lambda use, x: keras.ops.tanh(use.affine(x, use.op.gain))
    ...     ),
    ... )
    >>> model = keras.Sequential([keras.Input((4, 8)), Gain(name="gain")])
    >>> print(keras_share.quantize.quantization_report(model))
    2 of 2 steps in int8
    """
    if (isinstance(kind, type) and issubclass(kind, keras.Layer)) or (
        isinstance(kind, str) and ">" in kind
    ):
        _LAYERS[kind] = rule
    elif isinstance(kind, str):
        _OPERATIONS[kind] = rule
    else:
        raise TypeError(
            "`kind` must be a class of layers or the name of an operation. "
            f"Received: kind={kind!r} of type {type(kind)}"
        )


def register_rules(kinds: Iterable[type | str], rule: QuantizeRule) -> None:
    """Registers one rule for several layers or operations."""
    for kind in kinds:
        register_rule(kind, rule)


def writes(*kinds: type | str, **settings: Any) -> Callable[[Write], Write]:
    """Registers the decorated function as what writes layers or operations.

    Args:
        *kinds: As in `register_rule`.
        **settings: Other attributes of the rule.
    """

    def register(write: Write) -> Write:
        register_rules(kinds, QuantizeRule(write=write, **settings))
        return write

    return register


def find_rule(op: keras.Operation) -> QuantizeRule | None:
    """The rule for a layer or operation, or None."""
    if not isinstance(op, keras.Layer):
        return _OPERATIONS.get(operation_name(op))
    for kind in type(op).__mro__:
        name = keras.saving.get_registered_name(kind)
        rule = _LAYERS.get(kind) or _LAYERS.get(name)
        if rule is not None:
            # What a subclass computes instead is not known.
            return rule if type(op).call is getattr(kind, "call", None) else None
    return None


def operation_name(op: keras.Operation) -> str:
    """The name of an operation as in `keras.ops`; an empty one of a layer."""
    if isinstance(op, keras.Layer):
        return ""
    kind = type(op).__name__
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind).lower()


def rules() -> dict[str, QuantizeRule]:
    """All rules, by the name of the layer or operation."""
    named = {
        kind.split(">")[1] if isinstance(kind, str) else kind.__name__: rule
        for kind, rule in _LAYERS.items()
    }
    return {**named, **{f"ops.{name}": rule for name, rule in _OPERATIONS.items()}}
