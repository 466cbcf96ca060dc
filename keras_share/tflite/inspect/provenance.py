"""Which Keras variable each stored weight came from, found by its values."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.stored import Stored, read_stored, shape_of
from keras_share.tflite.inspect.multiples import (
    AXES,
    MIN_LENGTH,
    channels,
    is_multiple,
    sample_positions,
    signature,
    signature_slack,
)

_SAMPLE = 64
_ROUNDING = 1e-6  # relative; the converter transposes float32 and leaves it as it is


class Candidate(NamedTuple):
    """Values that a stored weight may have come from.

    Attributes:
        variable: Number of the variable among the model's.
        values: Its values, or those that a layer says are stored of it.
    """

    variable: int
    values: np.ndarray


class Origin(NamedTuple):
    """A variable that a stored weight may be.

    Attributes:
        variable: Number of the variable among the model's.
        folded: Whether the weight is the variable times a factor per channel.
        error: Largest difference of their values; 0 if folded.
        values: The variable's values in the order and with the sign of the weight,
            flat; None if folded.
    """

    variable: int
    folded: bool
    error: float
    values: np.ndarray | None = None


@np.errstate(over="ignore", invalid="ignore")  # a damaged file holds any numbers
def find_origins(
    model: schema.ModelT, candidates: list[Candidate]
) -> dict[int, list[Origin]]:
    """The variables that each stored weight may be, by the number of its buffer.

    A weight is compared with every variable of as many values in every order of its
    axes (converters transpose kernels and merge axes) and with either sign, to half a
    step of the integers it is stored in; zeros only with zeros. A sample of the values
    tells nearly all variables apart, for all of one shape at a time. Kernels that fit
    none are compared up to a factor per channel.

    Args:
        model: The model.
        candidates: What there is to find, from `candidates_of`.
    """
    pools: dict[int, list[_Pool]] = defaultdict(list)
    shapes: dict[tuple[int, ...], list[Candidate]] = defaultdict(list)
    for variable, values in candidates:
        shape = tuple(n for n in values.shape if n > 1) or (1,)
        shapes[shape].append(Candidate(variable, values.reshape(shape)))
    for members in shapes.values():
        pools[members[0].values.size].append(_Pool(members))
    origins = {}
    for index, (tensor, *_) in flatbuffer.weights(model).items():
        pool = pools.get(math.prod(shape_of(tensor)), [])
        stored = read_stored(model, tensor) if pool else None
        if stored is None:
            continue
        same = [origin for part in pool for origin in part.same(stored)]
        found = same or [origin for part in pool for origin in part.multiples(stored)]
        if found:
            origins[index] = sorted(found, key=lambda origin: origin.error)
    return origins


def candidates_of(model: Any) -> list[Candidate]:
    """The floating-point variables of a model, and what is stored of them.

    Keras isn't needed for it: a model has `built` and `variables`, of which each has a
    `path`, a `shape`, a `dtype` and values that NumPy takes. A layer that computes with
    other values than those of its variables, as that of `quantize_model` which rounds
    them, has a method `stored_values` that gives pairs of a variable and an array.

    Raises:
        ValueError: If it is no such model, or not built.
    """
    if not (hasattr(type(model), "variables") and getattr(model, "built", False)):
        raise ValueError(
            "`model` must be the built Keras model that the file was made from. "
            f"Received: {model!r}. Call it on a batch first, or leave it out."
        )
    variables = list(model.variables)
    # By number: paths need not differ.
    number = {id(variable): i for i, variable in enumerate(variables)}
    pairs = [(variable, variable) for variable in variables]
    for part in _parts(model):
        if hasattr(part, "stored_values"):
            pairs += part.stored_values()
    return [
        Candidate(
            number[id(variable)], np.asarray(values).astype("float32", copy=False)
        )
        for variable, values in pairs
        if "float" in str(variable.dtype)
    ]


def _parts(model: Any) -> Iterator[Any]:
    """A model and whatever below it has variables, in attributes or collections."""
    seen: set[int] = set()
    stack = [model]
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, list | tuple | set):
            stack.extend(item)  # `+=` asks TensorFlow's proxies of tuples to add
        elif hasattr(type(item), "variables"):
            yield item
            stack.extend(vars(item).values())


class _Pool:
    """Variables of one shape without axes of size 1."""

    def __init__(self, members: list[Candidate]):
        self.members = members
        self.shape = members[0].values.shape
        self.orders = list(itertools.permutations(range(len(self.shape))))
        self._samples: dict[tuple, np.ndarray] = {}

    def same(self, stored: Stored) -> Iterator[Origin]:
        flat = stored.values.reshape(-1)
        slack = np.broadcast_to(stored.slack, stored.values.shape)
        allowed = 1.01 * slack.reshape(-1) + _ROUNDING * np.abs(flat)
        if not flat.any():  # half a step from zeros would be any small kernel
            allowed = np.zeros_like(allowed)
        positions = np.linspace(0, flat.size - 1, min(flat.size, _SAMPLE)).astype(int)
        for order in self.orders:
            samples = self._sampled(order, positions, "same")
            for sign in (1, -1):
                distance = np.abs(samples - sign * flat[positions])
                for number in np.flatnonzero((distance <= allowed[positions]).all(1)):
                    variable, values = self.members[number]
                    values = values.transpose(order).reshape(-1)
                    distances = np.abs(values - sign * flat)
                    if (distances <= allowed).all():
                        error = float(distances.max())
                        yield Origin(variable, False, error, sign * values)

    def multiples(self, stored: Stored) -> Iterator[Origin]:
        if len(self.shape) < 2 or not stored.values.any():
            return
        flat = stored.values.reshape(-1)
        slack = np.broadcast_to(stored.slack, stored.values.shape).reshape(-1)
        shape = stored.values.shape
        if sum(n > 1 for n in shape) < 2:  # a vector has one factor
            shape = (1, flat.size)
        stored = Stored(flat.reshape(shape), slack.reshape(shape))
        for axis in AXES:
            count, length = channels(shape, axis)
            if length < MIN_LENGTH:
                continue
            positions = sample_positions(shape, axis)
            sample = flat[positions]
            mark = signature(sample)
            allowed = signature_slack(sample, slack[positions])
            # A channel of nothing but zeros is a multiple of any other.
            allowed[~mark.any(axis=1)] = np.inf
            for order in self.orders:
                marks = self._sampled(order, positions, (axis, count), signature)
                near = (np.abs(marks - mark) <= allowed).all((1, 2))
                for number in np.flatnonzero(near):
                    variable, values = self.members[number]
                    values = values.transpose(order).reshape(shape)
                    if is_multiple(stored, Stored(values, np.float32(0)), axis):
                        yield Origin(variable, True, 0.0)

    def _sampled(
        self,
        order: tuple[int, ...],
        positions: np.ndarray,
        kind: object,
        finish: Callable[[np.ndarray], np.ndarray] = lambda samples: samples,
    ) -> np.ndarray:
        """The values of all members at these positions in an order of their axes."""
        if (order, kind) not in self._samples:
            place = np.unravel_index(positions, [self.shape[axis] for axis in order])
            # In the members' own order, so that none has to be copied.
            place = tuple(place[order.index(axis)] for axis in range(len(order)))
            samples = np.stack([values[place] for _, values in self.members])
            self._samples[order, kind] = finish(samples)
        return self._samples[order, kind]
