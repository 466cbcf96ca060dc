"""What became of each kernel of a Keras model in a .tflite file."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.stored import bits
from keras_share.tflite.inspect.provenance import Origin

if TYPE_CHECKING:
    from keras_share.tflite.inspect.audit import BufferFacts


_BIAS_TYPES = ("int32", "int64")


@dataclass(frozen=True)
class KernelFacts:
    """A Keras variable of two or more dimensions, and what is stored of it.

    Attributes:
        variable: Path of the Keras variable.
        shape: Its shape.
        uses: Number of operator inputs that read what is stored of it.
        stored: Numbers of the buffers that hold it.
        expected_bytes: Bytes of one copy in the type that it is stored in.
        stored_bytes: Bytes of all copies.
        state: `"once"`: one buffer holds it, as it is or times a factor per channel (a
            normalization folded into a kernel of one use). `"copied"`: several do.
            `"folded"`: several do, of which some hold it times a factor per channel.
            `"dequantized"`: it is stored in floating point beside integer kernels, or
            as integers that a DEQUANTIZE makes floats of. `"missing"`: no stored
            weight was found to be this kernel; it may be there in another form.
    """

    variable: str
    shape: tuple[int, ...]
    uses: int
    stored: tuple[int, ...]
    expected_bytes: int
    stored_bytes: int
    state: str


def assign(origins: Mapping[int, list[Origin]]) -> dict[int, Origin]:
    """One variable for each stored weight: the nearest one.

    Variables with the same values (such as zeros) get one weight each in turn.
    """
    taken: Counter[int] = Counter()
    chosen = {}
    for index, options in origins.items():
        nearest = [o for o in options if o.error == options[0].error]
        chosen[index] = min(nearest, key=lambda origin: taken[origin.variable])
        taken[chosen[index].variable] += 1
    return chosen


def kernel_facts(
    model: schema.ModelT,
    variables: Sequence[Any],
    buffers: "Mapping[int, BufferFacts]",
    origins: Mapping[int, list[Origin]],
) -> tuple[KernelFacts, ...]:
    """The facts of the variables that have two or more dimensions, in their order.

    But not of biases of several dimensions, as attention has them: to integers of 32
    bits they are rounded for each site, with the scale of its input.

    Args:
        model: The model that was read.
        variables: The variables that the numbers in `origins` stand for.
        buffers: The facts of its weights by number.
        origins: What `find_origins` returned.
    """
    chosen = assign(origins)
    holders: dict[int, list[int]] = defaultdict(list)
    for index, origin in chosen.items():
        holders[origin.variable].append(index)
    for index, options in origins.items():
        for origin in options:  # one weight that stands for several equal variables
            if origin.variable not in holders:
                holders[origin.variable] = [index]
    floats = _floats_in_quantized(buffers) | _dequantized(model, buffers)
    facts = []
    for number, variable in enumerate(variables):
        if len(variable.shape) < 2 or "float" not in str(variable.dtype):
            continue
        stored = [buffers[index] for index in holders.get(number, ())]
        if len(stored) > 1 and np.ptp(np.asarray(variable)) == 0:
            stored = stored[:1]  # zeros of any origin would be copies of it
        if stored and all(b.dtype in _BIAS_TYPES for b in stored):
            continue
        if not stored:
            state = "missing"
        elif len(stored) > 1:
            folded = any(chosen[b.index].folded for b in stored)
            state = "folded" if folded else "copied"
        else:
            state = "dequantized" if stored[0].index in floats else "once"
        own_bytes = math.prod(variable.shape) * bits(str(variable.dtype)) // 8
        facts.append(
            KernelFacts(
                variable=variable.path,
                shape=tuple(variable.shape),
                uses=sum(b.uses for b in stored),
                stored=tuple(b.index for b in stored),
                expected_bytes=min((b.nbytes for b in stored), default=own_bytes),
                stored_bytes=sum(b.nbytes for b in stored),
                state=state,
            )
        )
    return tuple(facts)


def _floats_in_quantized(buffers: "Mapping[int, BufferFacts]") -> set[int]:
    kernels = [b for b in buffers.values() if len(b.shape) > 1]
    if all("float" in b.dtype or b.dtype in _BIAS_TYPES for b in kernels):
        return set()
    return {b.index for b in kernels if "float" in b.dtype}


def _dequantized(
    model: schema.ModelT, buffers: "Mapping[int, BufferFacts]"
) -> set[int]:
    """Weights of integers that are made floats before they are used."""
    return {
        buffer
        for graph in model.subgraphs
        for op in graph.operators
        if flatbuffer.operator_name(model, op) == "DEQUANTIZE"
        for buffer in [graph.tensors[i].buffer for i in op.inputs if i >= 0]
        if buffer in buffers and "float" not in buffers[buffer].dtype
    }
