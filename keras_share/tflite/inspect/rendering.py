"""The text of an `Audit`, for a terminal of 88 columns."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
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
            *(f"{each.name} against the model: {each}" for each in report.agreement),
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
    # Where each runs as often as it is used, one column says it all.
    calls = any(b.calls not in (0, b.uses) for b in buffers)
    columns = {
        "bytes": lambda b: f"{b.nbytes:,}",
        "uses": lambda b: f"{b.uses:,}",
        **({"calls": lambda b: f"{b.calls:,}"} if calls else {}),
        "dtype": lambda b: b.dtype,
        "shape": lambda b: _shape(b.shape),
        "weight": lambda b: (
            (_tail(b.variable) if b.variable else short_name(b)) + _mark(b)
        ),
    }
    rest = buffers[MAX_ROWS:]
    more = f"... and {len(rest)} more of {sum(b.nbytes for b in rest):,} bytes in all"
    return [*_table(columns, buffers[:MAX_ROWS]), *([more] if rest else ())]


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
    columns = {
        "expected": lambda k: f"{k.expected_bytes:,}",
        "stored": lambda k: f"{k.stored_bytes:,}",
        "state": lambda k: k.state,
        "shape": lambda k: _shape(k.shape),
        "kernel": lambda k: _tail(k.variable),
    }
    more = len(wrong) - MAX_ROWS
    return [
        f"kernels: {', '.join(f'{n:,} {state}' for state, n in states.items())}; "
        f"expected {expected:,} bytes, stored {stored:,}",
        *(_table(columns, wrong[:MAX_ROWS]) if wrong else ()),
        *([f"... and {more} more"] if more > 0 else ()),
        "",
    ]


def _operator_lines(report: "Audit") -> list[str]:
    """A line for each kind, with what all of its kind cost in one inference."""
    sums = {(op.name, op.dtype): [op.count, 0, 0, 0] for op in report.operators}
    for cost in report.costs:
        each = 0, cost.macs, cost.weight_bytes, cost.activation_bytes
        total = sums[cost.name, cost.dtype]
        sums[cost.name, cost.dtype] = [
            a + cost.calls * b for a, b in zip(total, each, strict=True)
        ]
    rows = [(*numbers, dtype, name) for (name, dtype), numbers in sums.items()]
    if len(rows) > 1:
        totals = map(sum, zip(*sums.values(), strict=True))
        rows.append((*totals, "", "in all"))
    titles = "count", "MACs", "weights", "activations", "dtype", "operator"
    columns = {
        title: lambda row, i=i: f"{row[i]:,}" if i < 4 else row[i]
        for i, title in enumerate(titles)
    }
    loops = any(op.name == "WHILE" for op in report.operators)
    return [
        "operators (costs of all of a kind in one inference, tensors in bytes"
        f"{'; a loop as if it ran once' if loops else ''})",
        *_table(columns, rows),
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
    said = ((key, _said(value)) for key, value in metadata.items())
    return [_cut(f"{key}: {text}", 88) for key, text in said if text]


def _said(value: Any) -> str:
    """What JSON holds, as people write it."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    return str(value)


def _table(
    columns: Mapping[str, Callable[[Any], str]], rows: Iterable[Any]
) -> list[str]:
    """Lines of fixed width; columns of numbers to the right, the last one ragged."""
    lines = [list(columns), *([cell(row) for cell in columns.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if title in _NUMBERS else cell.ljust(width)
            for title, cell, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


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
