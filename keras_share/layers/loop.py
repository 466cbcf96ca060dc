"""`run_sites`: the sites of a stack in turn, those that repeat as a loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_share.layers.sublayers import Untracked
from keras_share.layers.substitute import (
    accepts_training,
    all_variables,
    call_on_values,
)
from keras_share.layers.tied import Tied, block_of
from keras_share.layers.variable_map import VariableMap

InTurn = Callable[[Any, Sequence[keras.Layer]], Any]


def run_sites(
    sites: Sequence[keras.Layer],
    inputs: Any,
    *args: Any,
    training: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Calls layer after layer, in traced functions as loops over what repeats.

    The loops compute what the layers in turn do, and assign the same (moving
    statistics, seeds). The losses that the repetitions add come as one sum. Where
    nothing is traced, that is, eagerly and on PyTorch, a loop would save nothing, and
    the layers run in turn.

    What can't be the body of a loop runs in turn: layers that change the shape or
    dtype of their input (if only the first repetition does, the rest is a loop), and
    those that assign to weights which train, as spectral normalization does.

    Args:
        sites: Built layers of one input and one output, or `Tied` uses of them.
        inputs: Tensor, the input of the first.
        *args: Passed to every layer.
        training: Passed to the layers that take it.
        **kwargs: Passed to every layer.

    Returns:
        The output of the last layer.
    """

    def in_turn(x: Any, layers: Sequence[keras.Layer]) -> Any:
        for layer in layers:
            mode = {"training": training} if accepts_training(layer) else {}
            x = layer(x, *args, **mode, **kwargs)
        return x

    if not _is_traced(inputs):
        return in_turn(inputs, sites)
    x = inputs
    for run in find_runs(sites):
        layers = sites[run.start : run.start + run.length * run.times]
        # The first repetition may bring shape, dtype and mask to what they then are.
        for _ in range(2):
            if len(layers) == run.length:
                break
            try:
                x, layers = _loop(layers, run.length, x, in_turn), []
                break
            except _NotALoopError:
                x = in_turn(x, layers[: run.length])
                layers = layers[run.length :]
        x = in_turn(x, layers)
    return x


@dataclass(frozen=True)
class Run:
    """Sites in a row: `length` of them, that repeat `times` times."""

    start: int
    length: int
    times: int


def find_runs(sites: Sequence[keras.Layer]) -> list[Run]:
    """Splits sites into runs so that as few of them as possible must be traced.

    Sites repeat where they run the same blocks with corresponding variables. State (a
    variable that does not train) must be the same one in each repetition, or belong to
    one repetition alone: then each of them can take the value from before the loop.

    Args:
        sites: Built layers, or `Tied` uses of them.

    Example:
    >>> import keras, keras_share
    >>> stack = keras_share.SharedStack(keras.layers.Dense(8), "ABABABC")
    >>> stack.build((None, 8))
    >>> find_runs(stack.sites)
    [Run(start=0, length=2, times=3), Run(start=6, length=1, times=1)]
    """
    blocks = list(map(block_of, sites))
    uses = _uses(sites)
    # From the last site on, the best plan from each site to the end: the number of
    # traced sites, that of runs, and the runs.
    plans: list[tuple[int, int, tuple[Run, ...]]] = [(0, 0, ())]
    for start in reversed(range(len(sites))):
        best: tuple[int, int, tuple[Run, ...]] = (len(sites) + 1, 0, ())
        for length in range(1, len(sites) - start + 1):
            # No longer body can do better.
            if length > best[0]:
                break
            most = _repetitions(blocks[start:], uses[start:], length)
            for times in range(1 if length == 1 else 2, most + 1):
                traced, count, rest = plans[length * times - 1]
                run = Run(start, length, times)
                plan = (length + traced, count + 1, (run, *rest))
                best = min(best, plan, key=lambda plan: plan[:2])
        plans.insert(0, best)
    return list(plans[0][2])


def _repetitions(
    blocks: list[keras.Layer], uses: list[list[keras.Variable]], length: int
) -> int:
    """How many times the first `length` sites come in a row."""
    first = _row(uses, length, 0)
    seen = {id(v) for v in first}
    unchanging: set[int] = set()
    times = 1
    while blocks[times * length : (times + 1) * length] == blocks[:length]:
        pairs = list(zip(first, _row(uses, length, times), strict=True))
        ids = {(id(a), id(b)) for a, b in pairs}
        state = {(id(a), id(b)) for a, b in pairs if not (a.trainable and b.trainable)}
        if times == 1:
            unchanging = {a for a, b in state if a == b}
        if (
            len(dict(ids)) < len(ids)
            or len({b for _, b in state}) < len(state)
            or any((a == b) != (a in unchanging) for a, b in state)
            or any(a != b and b in seen for a, b in state)
        ):
            break
        seen.update(b for _, b in state)
        times += 1
    return times


def _row(
    uses: list[list[keras.Variable]], length: int, number: int
) -> list[keras.Variable]:
    """The variables of one repetition of `length` sites."""
    return [v for use in uses[number * length : (number + 1) * length] for v in use]


def _uses(sites: Sequence[keras.Layer]) -> list[list[keras.Variable]]:
    """The variables that each site uses, in the order of its block's."""
    variables = {block: all_variables(block) for block in map(block_of, sites)}
    uses = []
    for site in sites:
        own = VariableMap(site.private_copies if isinstance(site, Tied) else ())
        uses.append([own.of(v) for v in variables[block_of(site)]])
    return uses


class _NotALoopError(Exception):
    """The layers can't be the body of a loop."""


def _loop(
    sites: Sequence[keras.Layer], length: int, inputs: Any, in_turn: InTurn
) -> Any:
    """Runs sites that repeat every `length` as a loop over the first `length`.

    In the loop, the variables of these first ones hold what those of each repetition
    do.
    """
    body, uses, times = sites[:length], _uses(sites), len(sites) // length
    rows = [_row(uses, length, number) for number in range(times)]
    columns = VariableMap((column[0], column) for column in zip(*rows, strict=True))

    def select(trains: bool, varies: bool) -> list[tuple[keras.Variable, ...]]:
        return [
            column
            for column in columns.values()
            if all(v.trainable for v in column) == trains
            and any(v is not column[0] for v in column) == varies
        ]

    constants = select(trains=True, varies=False)
    shared_state = select(trains=False, varies=False)
    weights = select(trains=True, varies=True)
    own_state = select(trains=False, varies=True)
    variables = [c[0] for c in constants + shared_state + weights + own_state]
    # Read here and not in the loop, where TensorFlow would keep the value of each
    # repetition for the gradient.
    constant_values = [ops.copy(column[0]) for column in constants]
    added_losses: list[Any] = []
    assigned: set[int] = set()

    def step(carry: tuple, slices: tuple) -> tuple:
        x, masks, loss, shared_values = carry
        weight_values, own_values = slices
        for mask in masks:
            x = _AttachMask()(x, mask=mask)
        values = [*constant_values, *shared_values, *weight_values, *own_values]
        y, losses, updates = call_on_values(
            lambda: in_turn(x, body), zip(variables, values, strict=True)
        )
        new_masks = _masks(y)
        weights_that_train = {id(column[0]) for column in constants + weights}
        assigned.update(id(v) for v, _ in updates)
        if (
            y.dtype != x.dtype
            or tuple(y.shape) != tuple(x.shape)
            or len(new_masks) != len(masks)
            or assigned & weights_that_train
        ):
            raise _NotALoopError
        added_losses.extend(losses)
        for term in losses:
            loss = loss + ops.cast(ops.sum(term), loss.dtype)
        new = VariableMap(zip(variables, values, strict=True))
        new.update((v, _assigned(value)) for v, value in updates)
        new_shared, new_own = (
            [new[column[0]] for column in group] for group in (shared_state, own_state)
        )
        return (y, new_masks, loss, new_shared), new_own

    start = (
        inputs,
        _masks(inputs),
        ops.zeros((), keras.config.floatx()),
        [ops.copy(column[0]) for column in shared_state],
    )
    slices = tuple(
        [ops.stack([ops.copy(v) for v in column]) for column in group]
        for group in (weights, own_state)
    )
    (x, masks, loss, shared_values), own_values = _scan(step, start, slices, times)
    for column, value in zip(shared_state, shared_values, strict=True):
        if id(column[0]) in assigned:
            column[0].assign(value)
    for column, stack in zip(own_state, own_values, strict=True):
        if id(column[0]) in assigned:
            for variable, value in zip(column, ops.unstack(stack, times), strict=True):
                variable.assign(value)
    if added_losses:
        sites[0].add_loss(loss)
        # The layers inside remember theirs by `id`, which no other loss must get.
        sites[0].losses_in_loop = Untracked(added_losses)
    for mask in masks:
        x = _AttachMask()(x, mask=mask)
    return x


def _assigned(value: Any) -> Any:
    """A value as it is read from the variable that it was assigned to.

    On TensorFlow no gradient goes through a variable. On JAX what a training step
    assigns is a value like others, and the sites in turn have the gradient.
    """
    stops = keras.config.backend() == "tensorflow"
    return ops.stop_gradient(value) if stops else value


def _scan(step: Callable, start: tuple, slices: tuple, times: int) -> tuple:
    """`ops.scan`, on TensorFlow one whose gradient XLA can compile.

    That takes a known number of iterations, and what `ops.scan` returns per step must
    be like the carry there.
    """
    if keras.config.backend() != "tensorflow":
        return ops.scan(step, start, slices, length=times)
    import tensorflow as tf

    def array(stack: Any) -> Any:
        return tf.TensorArray(stack.dtype, times, element_shape=stack.shape[1:])

    weights, state = ([array(s).unstack(s) for s in group] for group in slices)
    new_state = [array(s) for s in slices[1]]

    def body(i: Any, carry: tuple, arrays: list) -> tuple:
        read = ([a.read(i) for a in weights], [a.read(i) for a in state])
        carry, values = step(carry, read)
        arrays = [a.write(i, v) for a, v in zip(arrays, values, strict=True)]
        return i + 1, carry, arrays

    _, carry, new_state = tf.while_loop(
        lambda i, *_: i < times,
        body,
        (0, start, new_state),
        maximum_iterations=times,
    )
    return carry, [a.stack() for a in new_state]


def _is_traced(x: Any) -> bool:
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.is_symbolic_tensor(x)
    if backend == "jax":
        import jax

        return isinstance(x, jax.core.Tracer)
    return False


# Keras tells a layer the mask of its input and attaches one to its output; there is no
# function to do so.


class _ReadMask(keras.Layer):
    def __init__(self):
        super().__init__(autocast=False)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return mask

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        return None


class _AttachMask(keras.Layer):
    def __init__(self):
        super().__init__(autocast=False)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return inputs


def _masks(x: Any) -> list[Any]:
    """The mask of a tensor, if it has one."""
    mask = _ReadMask()(x)
    return [] if mask is None else [mask]
