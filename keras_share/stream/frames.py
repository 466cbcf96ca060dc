"""What steps of a graph do to frames, tried out: whether each is computed alone."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_share.flat.flat_graph import Step
from keras_share.flat.tensors import replaced

# Frames of the trial: what computes each alone gives the same for parts of these.
_ALL, _FIRST = 7, 4


@dataclass(frozen=True)
class Alone:
    """An output whose frames are each computed of one frame of the inputs.

    Attributes:
        axis: The axis of the frames; None for an output that has only the last one.
        rate: Frames for each frame of the input.
    """

    axis: int | None
    rate: int = 1


def frames_alone(
    step: Step, axes: dict[keras.KerasTensor, int]
) -> list[Alone | None] | None:
    """What each output of a step has of frames; None where it mixes them.

    Told from what the step makes of random numbers, as a whole and in parts, so that
    layers and operations of any kind need no list.

    Args:
        step: A step of a flat graph.
        axes: The axis of the frames of those inputs that have frames.

    Returns:
        One for each output, or None if the step can't be run on fewer frames.
    """
    rng = np.random.default_rng(0)
    given = {x: _drawn(rng, x, axes.get(x)) for x in step.inputs}

    parts = []
    for start, stop in ((0, _ALL), (0, _FIRST), (_FIRST, _ALL), (_ALL - 1, _ALL)):
        arrays = {
            x: np.take(a, range(start, stop), axes[x]) if x in axes else a
            for x, a in given.items()
        }
        try:
            outputs = _run(step, arrays, stop - start)
        except Exception:  # whatever a layer raises that wants another number of frames
            return None
        parts.append([ops.convert_to_numpy(y) for y in tree.flatten(outputs)])
    return [_outcome(*outputs) for outputs in zip(*parts, strict=True)]


def _outcome(
    whole: np.ndarray, first: np.ndarray, rest: np.ndarray, last: np.ndarray
) -> Alone | None:
    if whole.shape == last.shape:
        return Alone(None) if _same(whole, last) else None
    sizes = zip(whole.shape, first.shape, rest.shape, strict=True)
    changed = [axis for axis, size in enumerate(sizes) if len(set(size)) > 1]
    if len(changed) != 1:
        return None
    [axis] = changed
    rate = Fraction(whole.shape[axis], _ALL)
    if rate.denominator > 1 or first.shape[axis] != rate * _FIRST:
        return None
    both = np.concatenate([first, rest], axis)
    return Alone(axis, int(rate)) if _same(whole, both) else None


def _same(x: np.ndarray, y: np.ndarray) -> bool:
    return x.shape == y.shape and bool(np.allclose(x, y, 1e-4, 1e-5, equal_nan=True))


def _drawn(
    rng: np.random.Generator, x: keras.KerasTensor, axis: int | None
) -> np.ndarray:
    shape = [3 if size is None else size for size in x.shape]
    if x.shape and x.shape[0] is None:
        shape[0] = 2
    if axis is not None:
        shape[axis] = _ALL
    if "float" in x.dtype:
        return rng.normal(size=shape).astype(x.dtype)
    return rng.integers(0, 2, size=shape).astype(x.dtype)


def _run(step: Step, arrays: dict[keras.KerasTensor, np.ndarray], frames: int) -> Any:
    given = {x: ops.convert_to_tensor(a) for x, a in arrays.items()}
    args, kwargs = replaced((step.args, dict(step.kwargs)), given)
    op = at_length(step, frames)
    if not isinstance(op, keras.Layer):
        return op(*args, **kwargs)
    # Of weights that start at zero nothing could be told.
    rng = np.random.default_rng(1)
    drawn = [
        ops.cast(rng.uniform(0.5, 1.5, size=v.shape), v.dtype)
        for v in op.trainable_variables
    ]
    others = [v.value for v in op.non_trainable_variables]
    outputs, _ = op.stateless_call(drawn, others, *args, **kwargs)
    return outputs


def at_length(step: Step, frames: int) -> keras.Operation:
    """The layer or operation of a step, for another number of frames.

    A reshape has the number in it that the model was made with.
    """
    op = step.op
    sizes = getattr(op, "target_shape", None) or getattr(op, "newshape", None)
    if type(op).__name__ != "Reshape" or not isinstance(sizes, (list, tuple)):
        return op
    [x] = step.inputs
    layer = isinstance(op, keras.Layer)
    first = 0 if layer else 1
    if len(sizes) <= first or len(x.shape) < 2 or sizes[first] != x.shape[1]:
        return op
    sizes = (*sizes[:first], frames, *sizes[first + 1 :])
    return keras.layers.Reshape(sizes if layer else sizes[1:], name=step.name)
