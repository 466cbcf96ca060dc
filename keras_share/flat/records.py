"""Records of what a layer runs, compared: for two batch sizes, and in training."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree

from keras_share.flat.written import Refusal
from keras_share.layers.held_weight import ToBatch

# Such as images in up to 64 windows, among which a layer divides its batch.
SIZES = ((2, 3), (2 * 64 * 9, 3 * 64 * 9))


class Call(NamedTuple):
    """A call in a record."""

    op: keras.Operation
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any


def are_alike(
    one: tuple[keras.Model, list[Call]], other: tuple[keras.Model, list[Call]]
) -> bool:
    """Whether two records are of the same run, but for `training` of layers inside."""
    if len(one[1]) != len(other[1]):
        return False
    ours, theirs = (_places(*record) for record in (one, other))
    for a, b in zip(one[1], other[1], strict=True):
        is_layer = isinstance(a.op, keras.Layer)
        if a.op is not b.op and (
            is_layer or type(a.op) is not type(b.op) or _differ(vars(a.op), vars(b.op))
        ):
            return False
        given, taken = (
            tree.flatten((call.args, {**call.kwargs, "training": None}))
            for call in (a, b)
        )
        if len(given) != len(taken):
            return False
        for x, y in zip(given, taken, strict=True):
            if is_layer and _is_flag(x) and _is_flag(y):
                continue
            if ours.get(id(x)) != theirs.get(id(y)) or not _equal(x, y):
                return False
    return [ours[id(x)] for x in one[0].outputs] == [
        theirs[id(x)] for x in other[0].outputs
    ]


def _places(run: keras.Model, calls: list[Call]) -> dict[int, tuple[int, int]]:
    """Where the tensors of a record come from, by their ids."""
    made = [run.inputs, *(tree.flatten(call.outputs) for call in calls)]
    return {id(x): (i, j) for i, xs in enumerate(made) for j, x in enumerate(xs)}


def for_any_batch(
    calls: list[Call],
    others: list[Call],
    like: keras.KerasTensor,
    sizes: tuple[int, int],
) -> list[Call]:
    """The calls of a record, where they differ with the batch size for any.

    Args:
        calls: Those of one batch size.
        others: Those of another.
        like: A tensor of the first record whose first axis is that of the batch.
        sizes: The two batch sizes.

    Raises:
        Refusal: If they depend on the batch size in some other way than shapes do.
    """
    if [type(x.op) for x in calls] != [type(x.op) for x in others]:
        raise Refusal("what it runs depends on the batch size")
    merged: list[Call] = []
    for pair in zip(calls, others, strict=True):
        op, args, kwargs, outputs = _merged(*pair, like, sizes)
        if type(op).__name__ in ("Concatenate", "Stack"):  # which broadcast nothing
            args = tree.map_structure(lambda x: _repeated(x, like, merged), args)
        merged.append(Call(op, args, kwargs, outputs))
    return merged


def _repeated(x: Any, like: keras.KerasTensor, calls: list[Call]) -> Any:
    """A constant of one sample as a tensor of all, by a call that is added."""
    if isinstance(x, keras.KerasTensor) or not _is_array(x) or len(x) != 1:
        return x
    op = ToBatch(x.shape[1:])
    calls.append(Call(op, (x, like), {}, op.compute_output_spec(x, like)))
    return calls[-1].outputs


def _merged(
    call: Call, other: Call, like: keras.KerasTensor, sizes: tuple[int, int]
) -> Call:
    op, args, kwargs, outputs = call
    if op is not other.op and _differ(vars(op), vars(other.op)):
        name = type(op).__name__
        [shape], [wide] = (
            [x.shape for x in tree.flatten(y)] for y in (outputs, other.outputs)
        )
        if name == "Reshape":
            target = tuple(
                size if size == another else -1
                for size, another in zip(shape, wide, strict=True)
            )
            if target.count(-1) == 1:
                return Call(type(op)(target), args, kwargs, outputs)
        elif name in ("BroadcastTo", "Repeat", "Tile") and shape[1:] == wide[1:]:
            [x] = [x for x in args if isinstance(x, keras.KerasTensor)]
            lead = [1, *x.shape][-len(shape)] if len(x.shape) >= len(shape) else 1
            if name == "BroadcastTo" or (lead == 1 and x.shape[1:] == shape[1:]):
                return Call(ToBatch(shape[1:]), (x, like), {}, outputs)
        raise Refusal(f"it computes {name} from the batch size")
    mine, theirs = tree.flatten((args, kwargs)), tree.flatten(other[1:3])
    if len(mine) != len(theirs):
        raise Refusal("what it runs depends on the batch size")
    found = [_constant(a, b, sizes) for a, b in zip(mine, theirs, strict=True)]
    args, kwargs = tree.pack_sequence_as((args, kwargs), found)
    return Call(op, args, kwargs, outputs)


def _constant(value: Any, other: Any, sizes: tuple[int, int]) -> Any:
    """A value that doesn't depend on the batch size, if one of two such is left."""
    if isinstance(value, keras.KerasTensor) or not _is_array(value):
        symbolic = isinstance(value, keras.KerasTensor)
        if not symbolic and not _is_array(other) and _differ(value, other):
            raise Refusal("it computes with the batch size")
        return value
    one, two = (np.asarray(ops.convert_to_numpy(x)) for x in (value, other))
    if one.shape == two.shape:
        if not np.array_equal(one, two):
            raise Refusal("it computes with the batch size")
        return value
    fits = (len(one), len(two)) == sizes and one.shape[1:] == two.shape[1:]
    if fits and (one == one[:1]).all() and (two == one[:1]).all():
        return value[:1]
    raise Refusal("it makes a constant for each sample")


def _is_flag(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, keras.KerasTensor) and isinstance(other, keras.KerasTensor):
        return True  # of which the places are compared
    if _is_array(one) and _is_array(other):
        return np.array_equal(*map(ops.convert_to_numpy, (one, other)))
    return one is other or (type(one) is type(other) and one == other)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or ops.is_tensor(value)


def _differ(one: Any, other: Any) -> bool:
    """Whether the settings of two operations differ."""
    return any(a != b for a, b in zip(_settings(one), _settings(other), strict=False))


def _settings(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name != "name" and not str(name).startswith("_"):
                yield from _settings(item)
    elif isinstance(value, (list, tuple)):
        yield len(value)
        for item in value:
            yield from _settings(item)
    elif isinstance(value, (bool, int, float, str, type(None))):
        yield value
