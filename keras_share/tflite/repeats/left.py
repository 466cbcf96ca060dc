"""Why a kernel with several uses is still packed several times."""

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import zip_longest

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.stored import shape_of
from keras_share.tflite.inspect.multiples import find_multiples
from keras_share.tflite.repeats.line import Line, Operation


@dataclass(frozen=True)
class Left:
    """A kernel that the runtime packs more than once.

    Attributes:
        name: Name of its tensor.
        nbytes: Its bytes.
        packed: How often it is packed.
        reason: Why its uses can't be calls of one body, and what to change.
    """

    name: str
    nbytes: int
    packed: int
    reason: str

    def __str__(self) -> str:
        return (
            f"left: '{self.name}' of {self.nbytes:,} bytes is packed {self.packed} "
            f"times: {self.reason}"
        )


def find_left(line: Line, min_bytes: int) -> tuple[Left, ...]:
    """The kernels of a rolled model that are packed more than once."""
    uses: dict[Hashable, list[Operation]] = defaultdict(list)
    for _, operation in line.packing():
        uses[operation.kernel].append(operation)
    left = [
        Left(_name(first), line.kernel_bytes[kernel], len(others) + 1, reason)
        for kernel, (first, *others) in uses.items()
        if others
        for reason in [_reason(first, others, min_bytes)]
    ]
    # Kernels that were shared once, it seems: so converters fold a private scale.
    copies: dict[int, list[int]] = defaultdict(list)
    for index, first in find_multiples(line.model).items():
        if index in uses and first in uses:
            copies[first].append(index)
    for first, indices in copies.items():
        reason = (
            f"copies of it, such as '{_name(uses[indices[0]][0])}', differ by a factor "
            "per channel: a scale of each site was folded into it. Export with "
            "keras_share.export_tflite, which keeps the scales of normalization layers "
            "apart, or put an activation between scale and kernel."
        )
        nbytes = line.kernel_bytes[first]
        left.append(Left(_name(uses[first][0]), nbytes, len(indices) + 1, reason))
    return tuple(left)


def _name(operation: Operation) -> str:
    return flatbuffer.text(operation.kernel_tensor.name)


def _reason(first: Operation, others: list[Operation], min_bytes: int) -> str:
    other = next((o for o in others if o.key != first.key), None)
    if other is not None:
        return _difference(first, other)
    if first.key is None:
        return f"{first.name} keeps a state from call to call."
    return f"the kernels of its body have fewer bytes than `min_bytes` ({min_bytes})."


def _difference(one: Operation, other: Operation) -> str:
    """What keeps two uses of one kernel from being one operator, in a sentence."""
    if one.name != other.name:
        return f"one use is {one.name}, another {other.name}."
    for verb, ours, theirs in (
        ("reads", one.op.inputs, other.op.inputs),
        ("writes", one.op.outputs, other.op.outputs),
    ):
        for a, b in zip_longest(ours, theirs, fillvalue=-1):
            if (a < 0) != (b < 0):
                return f"not all of its uses in {one.name} have a bias."
            if a >= 0:
                pair = one.tensors[a], other.tensors[b]
                for fact, words, mend in _FACTS:
                    if fact(pair[0]) != fact(pair[1]):
                        first, second = (f"'{flatbuffer.text(t.name)}'" for t in pair)
                        said = words.format(*map(fact, pair))
                        said = f"{one.name} {verb} {first} and {second}, {said}."
                        return said + mend(one)
    return f"the options of its uses in {one.name} differ, such as the activation."


def _join(operation: Operation) -> str:
    """What to do with inputs of several sizes, as of heads over levels of a pyramid."""
    options = operation.op.builtinOptions
    is_pointwise = operation.name == "FULLY_CONNECTED" or (
        operation.name == "CONV_2D"
        and shape_of(operation.kernel_tensor)[1:3] == (1, 1)
        and (options.strideH, options.strideW) == (1, 1)
    )
    if not is_pointwise:
        return ""
    return (
        " It computes each position alone: reshape the inputs of all uses to (batch, "
        "positions, channels), concatenate them, call the layer once and split its "
        "output; one operator then packs it once."
    )


def _range(tensor: schema.TensorT) -> str:
    parameters = tensor.quantization
    if parameters is None or parameters.scale is None or not len(parameters.scale):
        return "none"
    zero = parameters.zeroPoint
    zero = 0 if zero is None or not len(zero) else zero[0]
    return f"scale {parameters.scale[0]:.6g}, zero point {zero}"


_FACTS = (
    (
        lambda tensor: flatbuffer.dtype_name(tensor.type),
        "which are {} and {}",
        lambda operation: "",
    ),
    (shape_of, "which have the shapes {} and {}", _join),
    (
        _range,
        "whose ranges differ ({} and {})",
        lambda operation: (
            " Give the sites of a group one range with "
            "quantize_model(..., "
            "ranges='group'), or quantize weights only (dynamic range)."
        ),
    ),
)
