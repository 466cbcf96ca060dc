"""Kernels that are another one times a factor per channel: folded copies.

What a converter makes of a shared kernel with a private scale beside it, such as that
of a BatchNormalization.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.stored import Stored, read_stored, shape_of

AXES = (0, -1)  # where stored kernels have their channels, outputs and inputs
MIN_LENGTH = 3  # of a channel: a shorter one is too often a multiple by chance
_ROWS, _COLUMNS = 8, 16  # that a signature looks at
_ROUNDING = 1e-5  # relative error of a product in float32, generously


def channels(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    """Number and length of the channels of a shape; `axis` is 0 or -1."""
    size = math.prod(shape)
    count = shape[axis] if shape else 1
    return count, size // count if count else 0


def by_channel(values: np.ndarray, axis: int) -> np.ndarray:
    """A view of an array with a row for each channel; `axis` is 0 or -1."""
    count, length = channels(values.shape, axis)
    if axis == 0:
        return values.reshape(count, length)
    return values.reshape(length, count).T


def sample_positions(shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Positions in the flat array of a sample of rows: (rows, columns)."""
    count, length = channels(shape, axis)
    rows = np.linspace(0, count - 1, min(count, _ROWS)).astype(int)[:, None]
    columns = np.linspace(0, length - 1, min(length, _COLUMNS)).astype(int)
    return rows * length + columns if axis == 0 else columns * count + rows


def signature(sample: np.ndarray) -> np.ndarray:
    """Magnitudes of a sample's rows, each with norm 1: (..., rows, columns).

    It is the same for whatever is a multiple per channel.
    """
    norms = np.linalg.norm(sample, axis=-1, keepdims=True)
    return np.abs(sample) / np.where(norms, norms, 1)


def signature_slack(sample: np.ndarray, slack: np.ndarray) -> np.ndarray:
    """How far the signature of rounded numbers may be off."""
    norms = np.linalg.norm(sample, axis=-1, keepdims=True)
    slack = np.broadcast_to(slack, sample.shape)
    off = slack + np.linalg.norm(slack, axis=-1, keepdims=True)
    return off / np.where(norms, norms, np.inf) + _ROUNDING


def is_multiple(stored: Stored, other: Stored, axis: int) -> bool:
    """Whether a stored array is another one times a factor per channel."""
    a, b = by_channel(stored.values, axis), by_channel(other.values, axis)
    squares = (b * b).sum(axis=1, dtype="float64", keepdims=True)
    products = (a * b).sum(axis=1, dtype="float64", keepdims=True)
    factor = (products / np.where(squares, squares, 1)).astype("float32")
    if not factor.any():
        return False
    slack = _rows(stored, axis) + np.abs(factor) * _rows(other, axis)
    # Twice, as the factor is itself found from rounded numbers.
    allowed = 2 * slack + _ROUNDING * np.abs(a).max(axis=1, keepdims=True)
    return bool((np.abs(a - factor * b) <= allowed).all())


@np.errstate(over="ignore", invalid="ignore")  # a damaged file holds any numbers
def find_multiples(model: schema.ModelT) -> dict[int, int]:
    """For each kernel that is a multiple of an earlier one, the number of that one.

    By the buffers' numbers. Only kernels of one shape and type are compared, and not
    those with the same content, which `first_copies` tells.
    """
    weights = flatbuffer.weights(model)
    first = flatbuffer.first_copies(model, weights)
    groups: dict[tuple, list[int]] = defaultdict(list)
    for index, (tensor, *_) in weights.items():
        shape = shape_of(tensor)
        if first[index] == index and sum(n > 1 for n in shape) > 1:
            groups[shape, tensor.type].append(index)
    found: dict[int, int] = {}
    for (shape, _), indices in groups.items():
        for axis in AXES:
            if len(indices) > 1 and channels(shape, axis)[1] >= MIN_LENGTH:
                left = {i: weights[i][0] for i in indices if i not in found}
                found.update(_multiples_in(model, left, axis))
    return found


def _multiples_in(
    model: schema.ModelT, tensors: Mapping[int, schema.TensorT], axis: int
) -> dict[int, int]:
    """Multiples among tensors of one shape, without comparing all pairs.

    They have the same signature, so they are next to each other when sorted by a
    number that is computed from it.
    """
    signatures = _signatures(model, tensors, axis)
    if not signatures:
        return {}
    indices = np.array(list(signatures))
    marks, slacks = np.stack(list(signatures.values()), axis=1)
    keys = marks @ np.linspace(1, 2, marks.shape[1])
    order = np.argsort(keys, kind="stable")
    indices, marks, slacks, keys = (x[order] for x in (indices, marks, slacks, keys))
    reach = 4 * slacks.sum(axis=1)
    kinds: list[int] = []  # the first of each kind, by its place in this order
    found: dict[int, list[int]] = {}
    for place, index in enumerate(map(int, indices)):
        start = bisect_left(kinds, keys[place] - reach[place], key=keys.__getitem__)
        near = np.array(kinds[start:], int)
        off = np.abs(marks[near] - marks[place]) <= slacks[near] + slacks[place]
        for other in map(int, indices[near[off.all(axis=1)]]):
            stored, earlier = (read_stored(model, tensors[i]) for i in (index, other))
            # Of what can't be read there is no signature.
            assert stored is not None and earlier is not None
            if is_multiple(stored, earlier, axis):
                found[other].append(index)
                break
        else:
            kinds.append(place)
            found[index] = [index]
    return {
        index: min(group)
        for group in found.values()
        for index in group
        if index != min(group)
    }


def _signatures(
    model: schema.ModelT, tensors: Mapping[int, schema.TensorT], axis: int
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """The signature of each tensor in a row, and how far it may be off."""
    found = {}
    for index, tensor in tensors.items():
        # One by one: in floating point all weights may be too many to hold.
        stored = read_stored(model, tensor)
        if stored is not None:
            positions = sample_positions(stored.values.shape, axis)
            sample = stored.values.reshape(-1)[positions]
            slack = np.broadcast_to(stored.slack, stored.values.shape)
            off = signature_slack(sample, slack.reshape(-1)[positions])
            found[index] = signature(sample).reshape(-1), off.reshape(-1)
    return found


def _rows(stored: Stored, axis: int) -> np.ndarray:
    slack = np.broadcast_to(stored.slack, stored.values.shape)
    return by_channel(slack, axis)
