"""`audit`: what a .tflite file stores, how often it is used, and in which types."""

import os
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from keras_share.tflite import flatbuffer

if TYPE_CHECKING:
    import pandas

MAX_ROWS = 20  # of weights in the rendering
MAX_NAME = 44


@dataclass(frozen=True)
class BufferFacts:
    """One stored weight: a buffer with content that tensors refer to.

    Attributes:
        index: Number of the buffer in the file.
        name: Name of the first tensor that refers to it.
        shape: Shape of that tensor.
        dtype: Type of that tensor, such as `"float32"` or `"int8"`.
        nbytes: Bytes of content.
        uses: Number of operator inputs, over all subgraphs, that read a tensor which
            refers to this buffer. A kernel tied over 6 sites has 6 uses in an
            unrolled file, and 1 in a rolled one, whose body stands there once.
        num_tensors: Number of tensors that refer to it, over all subgraphs.
        duplicate_of: Number of the first buffer with the same content, or None if
            this is the first one.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    uses: int
    num_tensors: int
    duplicate_of: int | None


@dataclass(frozen=True)
class OperatorFacts:
    """The operators of one kind.

    Attributes:
        name: Name in LiteRT's schema, such as `"FULLY_CONNECTED"`; that of a custom
            operator is `"CUSTOM:<its name>"`.
        dtype: Type of the first output, or `"-"` without outputs.
        count: How many there are, over all subgraphs.
    """

    name: str
    dtype: str
    count: int


@dataclass(frozen=True)
class Audit:
    """The facts of one .tflite file; made by `audit`.

    Attributes:
        path: Path of the file, or None if it was passed as bytes.
        file_bytes: Size of the file.
        buffers: The weights it stores, in order of the file.
        operators: Its operators by kind, the most frequent first.
        num_subgraphs: Number of subgraphs: 1, and one more for each body of a loop
            or a branch.
    """

    path: str | None
    file_bytes: int
    buffers: tuple[BufferFacts, ...]
    operators: tuple[OperatorFacts, ...]
    num_subgraphs: int

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights, duplicates included."""
        return sum(buffer.nbytes for buffer in self.buffers)

    @property
    def duplicate_bytes(self) -> int:
        """Bytes of the weights whose content stands in an earlier one already."""
        return sum(b.nbytes for b in self.buffers if b.duplicate_of is not None)

    @property
    def float_operators(self) -> dict[str, int]:
        """Count of the operators whose first output is floating, by name.

        DEQUANTIZE is left out: to return floats is its job. In a file that is
        quantized throughout this is empty.
        """
        counts: Counter[str] = Counter()
        for op in self.operators:
            floating = op.dtype.startswith(("float", "bfloat"))
            if floating and op.name != "DEQUANTIZE":
                counts[op.name] += op.count
        return dict(counts)

    @property
    def weights(self) -> "pandas.DataFrame":
        """The weights as a DataFrame, the largest first."""
        frame = _frame(BufferFacts, _largest_first(self.buffers))
        # Numbers with gaps: a plain column would turn them into floats.
        return frame.astype({"duplicate_of": "Int64"})

    @property
    def operators_frame(self) -> "pandas.DataFrame":
        """The operators as a DataFrame, the most frequent first."""
        return _frame(OperatorFacts, self.operators)

    def to_frame(self) -> "pandas.DataFrame":
        """The weights as a DataFrame: the same as `weights`."""
        return self.weights

    def __str__(self) -> str:
        share = self.weight_bytes / self.file_bytes
        floats = (f"{name} x {n}" for name, n in self.float_operators.items())
        return "\n".join(
            [
                f"{self.path or 'model'}: {self.file_bytes:,} bytes, "
                f"{_plural(self.num_subgraphs, 'subgraph')}",
                f"weights: {self.weight_bytes:,} bytes in "
                f"{_plural(len(self.buffers), 'buffer')} ({share:.0%} of the file), "
                f"duplicates: {self.duplicate_bytes:,} bytes",
                "",
                *_weight_lines(_largest_first(self.buffers)),
                "",
                *_columns(
                    ("count", "dtype", "operator"),
                    [(f"{op.count:,}", op.dtype, op.name) for op in self.operators],
                ),
                f"float operators: {', '.join(floats) or 'none'}",
            ]
        )


def audit(source: str | os.PathLike | bytes) -> Audit:
    """Reports what a .tflite file stores and computes.

    Weight tying is judged by the exported file, never by `count_params`: converters
    fold scales and normalization into kernels and so may store a shared kernel once
    per site. A kernel that stayed shared is one buffer with several uses.

    A *weight* is a buffer with content, of any size, that at least one tensor refers
    to: kernels, biases and tables, and also the small constants of operators such as
    the target of a reshape. Metadata, buffer 0 (empty by convention) and the scales of
    quantization, which are stored with the tensors, don't count. Nor do weights in
    files of their own (external buffers).

    Needs only `ai_edge_litert` and NumPy: no TensorFlow, and pandas only for the
    DataFrames.

    Args:
        source: Path of the file, or its bytes.

    Returns:
        An `Audit`. `print` it, or take its DataFrames `weights` and
        `operators_frame`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a .tflite model, or a damaged one.

    Example:
    >>> report = audit("tied.tflite")  # a Dense of 32 units without bias, used 3 times
    >>> [(weight.shape, weight.uses) for weight in report.buffers]
    [((32, 32), 3)]
    >>> report.weight_bytes, report.duplicate_bytes
    (4096, 0)
    >>> report.float_operators
    {'FULLY_CONNECTED': 3}
    """
    model = flatbuffer.read(source)
    is_path = isinstance(source, str | os.PathLike)
    return Audit(
        path=str(os.fspath(source)) if is_path else None,
        file_bytes=os.path.getsize(source) if is_path else len(source),
        buffers=_buffer_facts(model),
        operators=_operator_facts(model),
        num_subgraphs=len(model.subgraphs),
    )


def _buffer_facts(model: flatbuffer.schema.ModelT) -> tuple[BufferFacts, ...]:
    weights = flatbuffer.weights(model)
    first = flatbuffer.first_copies(model, weights)
    uses = Counter(
        graph.tensors[index].buffer
        for graph in model.subgraphs
        for op in graph.operators
        for index in op.inputs
        if index >= 0
    )
    return tuple(
        BufferFacts(
            index=index,
            name=flatbuffer.text(tensors[0].name),
            shape=tuple(
                map(int, tensors[0].shape if tensors[0].shape is not None else ())
            ),
            dtype=flatbuffer.dtype_name(tensors[0].type),
            nbytes=len(flatbuffer.buffer_bytes(model, index)),
            uses=uses[index],
            num_tensors=len(tensors),
            duplicate_of=None if first[index] == index else first[index],
        )
        for index, tensors in weights.items()
    )


def _operator_facts(model: flatbuffer.schema.ModelT) -> tuple[OperatorFacts, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    for graph in model.subgraphs:
        for op in graph.operators:
            types = [graph.tensors[index].type for index in op.outputs if index >= 0]
            dtype = flatbuffer.dtype_name(types[0]) if types else "-"
            counts[flatbuffer.operator_name(model, op), dtype] += 1
    kinds = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(OperatorFacts(*kind, count) for kind, count in kinds)


def _largest_first(buffers: tuple[BufferFacts, ...]) -> list[BufferFacts]:
    return sorted(buffers, key=lambda b: (-b.nbytes, b.index))


def _frame(kind: type, rows: Any) -> "pandas.DataFrame":
    import pandas as pd

    names = [field.name for field in fields(kind)]
    return pd.DataFrame(
        [[getattr(row, name) for name in names] for row in rows], columns=names
    )


def _weight_lines(buffers: list[BufferFacts]) -> list[str]:
    rows = [
        (
            f"{b.nbytes:,}",
            str(b.uses),
            b.dtype,
            "x".join(map(str, b.shape)) or "scalar",
            _short(b.name or f"buffer {b.index}")
            + ("" if b.duplicate_of is None else " (duplicate)"),
        )
        for b in buffers[:MAX_ROWS]
    ]
    lines = _columns(("bytes", "uses", "dtype", "shape", "weight"), rows)
    rest = buffers[MAX_ROWS:]
    if rest:
        nbytes = sum(b.nbytes for b in rest)
        lines.append(f"... and {len(rest)} more of {nbytes:,} bytes in all")
    return lines


def _columns(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Lines of fixed width; columns of numbers to the right, the last one ragged."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    numeric = {"bytes", "uses", "count"}
    return [
        "  ".join(
            cell.rjust(width) if title in numeric else cell.ljust(width)
            for title, cell, width in zip(titles, row, widths, strict=True)
        ).rstrip()
        for row in (titles, *rows)
    ]


def _short(name: str) -> str:
    # A fused operator's name lists those it came from, each below the model's name.
    first = name.split(";", maxsplit=1)[0]
    first = first.partition("/")[2] or first
    half = (MAX_NAME - 3) // 2
    return first if len(first) <= MAX_NAME else f"{first[:half]}...{first[-half:]}"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
