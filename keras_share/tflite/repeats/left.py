"""Why a kernel with several uses is still packed several times."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.kernel_places import KERNEL_OPERATORS
from keras_share.tflite.inspect.multiples import find_multiples
from keras_share.tflite.repeats.line import Step, Steps
from keras_share.tflite.repeats.windows import use_key


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


def find_left(steps: Steps, min_bytes: int) -> tuple[Left, ...]:
    """The kernels of a rolled model that are packed more than once."""
    uses: dict[Hashable, dict[Hashable, list[Step]]] = {}
    for step in steps.line:
        if step is not None and step.kernel is not None:
            uses.setdefault(step.kernel, {}).setdefault(use_key(step), []).append(step)
    left = []
    for kernel, kinds in uses.items():
        packed = sum(map(len, kinds.values()))
        if packed == 1:
            continue
        first, *others = (alike[0] for alike in kinds.values())
        if others:
            reason = _difference(steps, first, others[0])
        elif first.key is None:
            reason = f"{first.name} keeps a state from call to call."
        else:
            reason = (
                f"the kernels of its body have fewer bytes than min_bytes={min_bytes}."
            )
        name = _kernel_name(steps, first)
        left.append(Left(name, steps.kernel_bytes[kernel], packed, reason))
    return (*left, *_find_folded(steps, uses))


def _find_folded(
    steps: Steps, uses: dict[Hashable, dict[Hashable, list[Step]]]
) -> list[Left]:
    """Kernels that are one but for a factor per channel, of each site its own.

    They were shared once, it seems: so converters fold a private normalization.
    """
    copies: dict[int, list[int]] = {}
    for index, first in find_multiples(steps.model).items():
        if index in uses and first in uses:
            copies.setdefault(first, [first]).append(index)
    folded = []
    for first, kernels in copies.items():
        steps_of = [next(iter(uses[kernel].values()))[0] for kernel in kernels]
        other = _kernel_name(steps, steps_of[1])
        reason = (
            f"copies of it, such as '{other}', differ by a factor per channel: a scale "
            "of each site was folded into it. Export with keras_share.export_tflite, "
            "which keeps the scales of normalization layers apart, or put an "
            "activation between scale and kernel."
        )
        name, nbytes = _kernel_name(steps, steps_of[0]), steps.kernel_bytes[first]
        folded.append(Left(name, nbytes, len(kernels), reason))
    return folded


def _kernel_name(steps: Steps, step: Step) -> str:
    number = step.op.inputs[KERNEL_OPERATORS[step.name].kernel]
    return flatbuffer.text(_tensor(steps, step, number).name)


def _difference(steps: Steps, one: Step, other: Step) -> str:
    """What keeps two uses of one kernel from being one operator, in a sentence."""
    if one.name != other.name:
        return f"one use is {one.name}, another {other.name}."
    if len(one.op.inputs) != len(other.op.inputs):
        return f"not all of its uses in {one.name} have a bias."
    if len(one.op.outputs) != len(other.op.outputs):
        return f"not all of its uses in {one.name} have equally many outputs."
    for verb, tensors, others in (
        ("reads", one.op.inputs, other.op.inputs),
        ("writes", one.op.outputs, other.op.outputs),
    ):
        for a, b in zip(tensors, others, strict=True):
            if a < 0 and b < 0:
                continue
            if a < 0 or b < 0:
                return f"not all of its uses in {one.name} have a bias."
            said = _tensors_differ(_tensor(steps, one, a), _tensor(steps, other, b))
            if said is not None:
                return f"{one.name} {verb} {said}"
    return f"the options of its uses in {one.name} differ, such as the activation."


def _tensors_differ(a: schema.TensorT, b: schema.TensorT) -> str | None:
    names = f"'{flatbuffer.text(a.name)}' and '{flatbuffer.text(b.name)}'"
    if a.type != b.type:
        types = " and ".join(flatbuffer.dtype_name(t.type) for t in (a, b))
        return f"{names}, which are {types}."
    shapes = [() if t.shape is None else tuple(map(int, t.shape)) for t in (a, b)]
    if shapes[0] != shapes[1]:
        return f"{names}, which have the shapes {shapes[0]} and {shapes[1]}."
    ranges = [_range(t) for t in (a, b)]
    if ranges[0] != ranges[1]:
        return (
            f"{names}, whose ranges differ ({ranges[0]} and {ranges[1]}). Give the "
            "sites of a group one range with quantize_model(..., ranges='group'), or "
            "quantize weights only (dynamic range)."
        )
    return None


def _range(tensor: schema.TensorT) -> str:
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None:
        return "none"
    scales, zeros = np.asarray(quantization.scale), np.asarray(quantization.zeroPoint)
    if not scales.size:
        return "none"
    return f"scale {scales[0]:.6g}, zero point {zeros[0] if zeros.size else 0}"


def _tensor(steps: Steps, step: Step, number: int) -> schema.TensorT:
    return steps.model.subgraphs[step.graph].tensors[number]
