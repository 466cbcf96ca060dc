"""The text of an `Audit`, for a terminal of 88 columns."""

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_share.tflite.inspect.audit import Audit, BufferFacts
    from keras_share.tflite.inspect.kernel_facts import KernelFacts
    from keras_share.tflite.inspect.memory import MemoryEstimate

MAX_ROWS = 20  # of weights, and of kernels
MAX_NAME = 40
_NUMBERS = {"bytes", "uses", "calls", "count", "MACs", "activations", "expected"}
_NUMBERS |= {"weights", "stored"}


def render(report: "Audit") -> str:
    """The facts in lines: totals first, then tables, then what is left in floats."""
    share = report.weight_bytes / report.file_bytes
    floats = (f"{name} x {n}" for name, n in report.float_operators.items())
    return "\n".join(
        [
            f"{report.path or 'model'}: {report.file_bytes:,} bytes, "
            f"{_plural(report.num_subgraphs, 'subgraph')}",
            f"weights: {report.weight_bytes:,} bytes in "
            f"{_plural(len(report.buffers), 'buffer')} ({share:.0%} of the file), "
            f"duplicates: {report.duplicate_bytes:,} bytes",
            "",
            *_weight_lines(largest_first(report.buffers)),
            "",
            *(_kernel_lines(report.kernels) if report.kernels else ()),
            *_operator_lines(report),
            *_metadata_lines(report.metadata),
            *(_memory_lines(report.memory) if report.memory else ()),
            f"float operators: {', '.join(floats) or 'none'}",
        ]
    )


def largest_first(buffers: "tuple[BufferFacts, ...]") -> "list[BufferFacts]":
    """Weights by size."""
    return sorted(buffers, key=lambda b: (-b.nbytes, b.index))


def short_name(buffer: "BufferFacts") -> str:
    """A weight's name in at most `MAX_NAME` characters."""
    # A fused operator's name lists those it came from, each below the model's name.
    first = buffer.name.split(";", maxsplit=1)[0]
    first = first.partition("/")[2] or first
    return _cut(first or f"buffer {buffer.index}")


def _weight_lines(buffers: "list[BufferFacts]") -> list[str]:
    rows = [
        (
            f"{b.nbytes:,}",
            f"{b.uses:,}",
            f"{b.calls:,}",
            b.dtype,
            _shape(b.shape),
            (_tail(b.variable) if b.variable else short_name(b)) + _mark(b),
        )
        for b in buffers[:MAX_ROWS]
    ]
    titles = ("bytes", "uses", "calls", "dtype", "shape", "weight")
    if all(b.calls in (0, b.uses) for b in buffers):  # one column says it all
        titles, rows = _without(2, titles), [_without(2, row) for row in rows]
    lines = _columns(titles, rows)
    rest = buffers[MAX_ROWS:]
    if rest:
        nbytes = sum(b.nbytes for b in rest)
        lines.append(f"... and {len(rest)} more of {nbytes:,} bytes in all")
    return lines


def _mark(buffer: "BufferFacts") -> str:
    if buffer.duplicate_of is not None:
        return " (duplicate)"
    return "" if buffer.multiple_of is None else " (multiple)"


def _kernel_lines(kernels: "tuple[KernelFacts, ...]") -> list[str]:
    states = Counter(kernel.state for kernel in kernels)
    expected = sum(k.expected_bytes for k in kernels if k.stored)
    stored = sum(k.stored_bytes for k in kernels)
    # What is stored as it should be needs no line.
    wrong = [k for k in kernels if k.state != "once"]
    rows = [
        (
            f"{k.expected_bytes:,}",
            f"{k.stored_bytes:,}",
            k.state,
            _shape(k.shape),
            _tail(k.variable),
        )
        for k in wrong[:MAX_ROWS]
    ]
    titles = ("expected", "stored", "state", "shape", "kernel")
    more = len(wrong) - len(rows)
    return [
        f"kernels: {', '.join(f'{n:,} {state}' for state, n in states.items())}; "
        f"expected {expected:,} bytes, stored {stored:,}",
        *(_columns(titles, rows) if rows else ()),
        *([f"... and {more} more"] if more > 0 else ()),
        "",
    ]


def _operator_lines(report: "Audit") -> list[str]:
    """A line for each kind, with what all of its kind cost in one inference."""
    macs, weights, activations = Counter(), Counter(), Counter()
    for cost in report.costs:
        kind = cost.name, cost.dtype
        macs[kind] += cost.macs * cost.calls
        weights[kind] += cost.weight_bytes * cost.calls
        activations[kind] += cost.activation_bytes * cost.calls
    rows = []
    for op in report.operators:
        kind = op.name, op.dtype
        costs = macs[kind], weights[kind], activations[kind]
        rows.append((f"{op.count:,}", *(f"{n:,}" for n in costs), op.dtype, op.name))
    totals = (sum(counts.values()) for counts in (macs, weights, activations))
    count = sum(op.count for op in report.operators)
    if len(rows) > 1:
        rows.append((f"{count:,}", *(f"{n:,}" for n in totals), "", "in all"))
    titles = ("count", "MACs", "weights", "activations", "dtype", "operator")
    return [
        "operators (costs of all of a kind in one inference, tensors in bytes)",
        *_columns(titles, rows),
    ]


def _memory_lines(memory: "MemoryEstimate") -> list[str]:
    parts = {
        "file": memory.file_bytes,
        "packed kernels": memory.packed_bytes,
        "activations": memory.arena_bytes,
    }
    return [
        f"memory of the stock runtime, an estimate: {_size(memory.total_bytes)}; "
        f"{_size(memory.rolled_bytes)} with kernels packed once",
        f"  {', '.join(f'{part} {_size(n)}' for part, n in parts.items())}",
    ]


def _metadata_lines(metadata: dict[str, Any]) -> list[str]:
    return [_cut(f"{key}: {value}", 88) for key, value in metadata.items()]


def _columns(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Lines of fixed width; columns of numbers to the right, the last one ragged."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if title in _NUMBERS else cell.ljust(width)
            for title, cell, width in zip(titles, row, widths, strict=True)
        ).rstrip()
        for row in (titles, *rows)
    ]


def _without(place: int, row: tuple[str, ...]) -> tuple[str, ...]:
    return row[:place] + row[place + 1 :]


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e6:,.1f} MB" if nbytes >= 1e6 else f"{nbytes / 1e3:,.1f} kB"


def _cut(name: str, length: int = MAX_NAME) -> str:
    half = (length - 3) // 2
    return name if len(name) <= length else f"{name[:half]}...{name[-half:]}"


def _tail(path: str) -> str:
    # Paths of variables differ at their end.
    return path if len(path) <= MAX_NAME else f"...{path[3 - MAX_NAME :]}"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
