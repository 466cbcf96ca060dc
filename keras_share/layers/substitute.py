"""Calling a layer with other values in place of some of its variables."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import keras

from keras_share.layers.sublayers import sublayers
from keras_share.layers.variable_map import VariableMap


def call_with(
    layer: keras.Layer,
    stand_ins: Iterable[tuple[keras.Variable, Any]],
    *args: Any,
    **kwargs: Any,
) -> tuple[Any, list[Any]]:
    """Calls `layer` with other variables or tensors standing in for its own.

    What the call assigns to a variable (moving statistics, the state of a seed)
    goes to the variable that stands in for it, or else to the layer's own.

    Args:
        layer: A built layer.
        stand_ins: Pairs of a variable of the layer and the variable or tensor to
            use instead.
        *args: Passed to the layer.
        **kwargs: Passed to the layer.

    Returns:
        The outputs, and the losses that were added inside, unless they went to a
        scope around this call.
    """
    variables = all_variables(layer)
    used = VariableMap(stand_ins)
    # Every variable is passed, also those that stand for themselves: on JAX an inner
    # scope hides the outer one, which holds the values of this training step.
    outputs, losses, updates = call_on_values(
        lambda: layer(*args, **kwargs),
        [(v, _value(used.of(v))) for v in variables],
        _InnerScope,
    )
    for variable, new in updates:
        stand_in = used.of(variable)
        if isinstance(stand_in, keras.Variable):
            stand_in.assign(new)
    return outputs, losses


class _InnerScope(keras.StatelessScope):
    """Leaves losses to the scope around it, if there is one that collects them.

    There Keras counts each loss for the layer that added it; were it added once more
    by the layer around that one, it would count twice.
    """

    def add_loss(self, loss: Any) -> None:
        outer = self.original_scope
        if outer is not None and outer.collect_losses:
            outer.add_loss(loss)
        else:
            super().add_loss(loss)


def call_on_values(
    function: Callable[[], Any],
    values: Iterable[tuple[keras.Variable, Any]],
    scope_class: type[keras.StatelessScope] = keras.StatelessScope,
) -> tuple[Any, list[Any], list[tuple[keras.Variable, Any]]]:
    """Calls a function with values in place of variables, which stay as they are.

    Args:
        function: What to call; it may call layers.
        values: Pairs of a variable and the tensor to use for it. All that the function
            reads should be among them: on JAX these values hide those of the training
            step for the other variables.
        scope_class: Of the scope in which the values hold.

    Returns:
        What `function` returns, the losses that were added in it, and pairs of a
        variable and the new value that was assigned to it.
    """
    values = list(values)
    with scope_class(state_mapping=values, collect_losses=True) as scope:
        before = [(v, scope.get_current_value(v)) for v, _ in values]
        outputs = function()
        after = [(v, old, scope.get_current_value(v)) for v, old in before]
    updates = [(v, new) for v, old, new in after if new is not old]
    return outputs, list(scope.losses), updates


def all_variables(layer: keras.Layer) -> list[keras.Variable]:
    """Every variable that a layer may read: weights, state and metrics."""
    # `variables` leaves out those of metrics.
    variables = (*layer.variables, *layer.metrics_variables)
    return list(VariableMap((v, v) for v in variables))


def is_built(layer: keras.Layer) -> bool:
    """Whether a layer and those inside have their weights.

    When Keras loads a composite layer without a `build`, it calls it built before it
    has called it, which makes the weights.
    """
    composite = type(layer).build is keras.Layer.build
    return layer.built and not (
        composite and any(not part.built for part in sublayers(layer))
    )


def build_by_call(layer: keras.Layer, input_shape: Any, dtype: str) -> Any:
    """Builds a layer by a symbolic call; returns the shape of its output.

    A composite layer need not have a `build`, and a call also checks that the shape
    fits.
    """
    return layer(keras.KerasTensor(input_shape, dtype=dtype)).shape


def needs_several_inputs(layer: keras.Layer) -> bool:
    """Whether `layer.call` has more than one argument without a default."""
    positional = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    parameters = inspect.signature(layer.call).parameters.values()
    required = [p for p in parameters if p.kind in positional and p.default is p.empty]
    return len(required) > 1


def as_called(call: Callable[..., Any], layer: keras.Layer) -> Callable[..., Any]:
    """The `call` of a layer around another one, with the arguments of that.

    By their names Keras tells tensors from settings, of which it takes no mixture in
    `**kwargs`, and finds the masks.
    """
    signature = inspect.signature(layer.call)
    first = next(iter(signature.parameters), "inputs")

    @functools.wraps(call)
    def call_as(*args: Any, **kwargs: Any) -> Any:
        if not args and first in kwargs:
            args = (kwargs.pop(first),)
        return call(*args, **kwargs)

    call_as.__signature__ = signature  # type: ignore[attr-defined]
    return call_as


def accepts_training(layer: keras.Layer) -> bool:
    """Whether `layer.call` takes `training`."""
    parameters = inspect.signature(layer.call).parameters
    return "training" in parameters


def _value(stand_in: Any) -> Any:
    return stand_in.value if isinstance(stand_in, keras.Variable) else stand_in
