"""What to say of kernels that a .tflite file stores several times."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from keras_share.tflite.inspect.kernel_facts import KernelFacts
from keras_share.tflite.inspect.rendering import short_name

if TYPE_CHECKING:
    from keras_share.tflite.inspect.audit import BufferFacts

_MAX_NAMED = 3  # copies that a sentence names
_FOLDED = (
    "a scale that differs from site to site, such as that of a private normalization, "
    "was multiplied into the kernel. Keep it apart: `export_tflite` does so for "
    "normalization layers; elsewhere put an activation between the scale and the kernel"
)
_EQUAL = "with equal bytes, which `dedupe` stores once"
_FORMS = (
    "in different forms: something was computed from the kernel (a transpose, a "
    "rounding of its own for each use). Export with `export_tflite`, or use the kernel "
    "in one way only"
)


def complain_of_kernel(
    kernel: KernelFacts, buffers: "Mapping[int, BufferFacts]"
) -> str:
    """A sentence on a kernel that is stored several times, with cause and mend."""
    copies = [buffers[index] for index in kernel.stored]
    return _sentence(f"'{kernel.variable}'", copies, kernel.state == "folded")


def complain_of_buffers(buffers: "Sequence[BufferFacts]") -> list[str]:
    """The same by the file alone, of weights that are copies of an earlier one.

    Weights of one dimension don't count: biases are often equal by chance.
    """
    groups: dict[int, list[BufferFacts]] = defaultdict(list)
    origin: dict[int, int] = {}
    for buffer in buffers:
        first = buffer.duplicate_of
        first = buffer.multiple_of if first is None else first
        origin[buffer.index] = buffer.index if first is None else origin[first]
        if sum(n > 1 for n in buffer.shape) > 1:
            groups[origin[buffer.index]].append(buffer)
    return [
        _sentence("A kernel", copies, any(b.multiple_of is not None for b in copies))
        for copies in groups.values()
        if len(copies) > 1
    ]


def _sentence(subject: str, copies: "list[BufferFacts]", folded: bool) -> str:
    named = ", ".join(
        f"buffer {b.index} '{short_name(b)}' ({b.dtype}, {'x'.join(map(str, b.shape))})"
        for b in copies[:_MAX_NAMED]
    )
    rest = len(copies) - _MAX_NAMED
    more = f" and {rest} more" if rest > 0 else ""
    if folded:
        cause = f"times a factor per channel: {_FOLDED}"
    elif sum(b.duplicate_of is None for b in copies) == 1:
        cause = _EQUAL
    else:
        cause = _FORMS
    return (
        f"{subject} is stored {len(copies)} times, in "
        f"{sum(b.nbytes for b in copies):,} bytes instead of "
        f"{min(b.nbytes for b in copies):,}. It is in {named}{more}, {cause}."
    )
