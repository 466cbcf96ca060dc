"""`audit`: what a .tflite file stores, how often it is used, and what it costs."""

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.metadata import read_metadata
from keras_share.tflite.file.stored import shape_of
from keras_share.tflite.inspect.calls import num_calls
from keras_share.tflite.inspect.complaint import complain_of_buffers, complain_of_kernel
from keras_share.tflite.inspect.cost import OperatorCost, operator_costs
from keras_share.tflite.inspect.kernel_facts import KernelFacts, assign, kernel_facts
from keras_share.tflite.inspect.memory import MemoryEstimate, estimate_memory
from keras_share.tflite.inspect.multiples import find_multiples
from keras_share.tflite.inspect.provenance import candidates_of, find_origins
from keras_share.tflite.inspect.rendering import largest_first, render
from keras_share.tflite.runtimes.agreement import Agreement

if TYPE_CHECKING:
    import keras
    import pandas


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
        calls: Number of times that an operator reads it in one inference: its uses,
            each as often as its subgraph runs. A kernel tied over 6 sites has 6 calls,
            rolled or not. A loop's body counts once, as the file doesn't tell how
            often it repeats; of several signatures each is run once.
        multiple_of: Number of the first buffer that this one is a multiple of, with a
            factor per channel, or None: what a converter makes of a shared kernel
            with a private scale beside it.
        variable: Path of the Keras variable that it came from, or None if it is not
            known.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    uses: int
    num_tensors: int
    duplicate_of: int | None
    calls: int = 0
    multiple_of: int | None = None
    variable: str | None = None


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
        costs: What each operator costs, in order of the file.
        memory: An estimate of what the stock runtime holds of it.
        kernels: What became of each kernel of the Keras model; empty if none was
            passed.
        metadata: What the file says of its origin, in an entry of metadata named
            "keras_share"; empty without one.
        agreement: How far each output was from the Keras model's when the file was
            exported; empty for a file that was read.
    """

    path: str | None
    file_bytes: int
    buffers: tuple[BufferFacts, ...]
    operators: tuple[OperatorFacts, ...]
    num_subgraphs: int
    costs: tuple[OperatorCost, ...] = ()
    memory: MemoryEstimate | None = None
    kernels: tuple[KernelFacts, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict, hash=False)
    agreement: tuple[Agreement, ...] = ()

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
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(cost.macs * cost.calls for cost in self.costs)

    @property
    def untied(self) -> tuple[KernelFacts, ...]:
        """The kernels that are stored several times: a broken promise of sharing."""
        return tuple(k for k in self.kernels if k.state in ("copied", "folded"))

    def complaint(self) -> str | None:
        """Says of each kernel that is stored several times why, and how to mend it.

        If no Keras model was passed to `audit`, by the file alone: kernels with the
        same content, or that are multiples of another one. That is no proof: layers
        may have been given equal kernels.

        Returns:
            A sentence or two per kernel, in lines, or None if there is none.
        """
        buffers = {buffer.index: buffer for buffer in self.buffers}
        if self.kernels:
            lines = [complain_of_kernel(kernel, buffers) for kernel in self.untied]
        else:
            lines = complain_of_buffers(self.buffers)
        return "\n".join(lines) or None

    def to_dataframe(self, rows: str = "buffers") -> "pandas.DataFrame":
        """The facts of one kind as a DataFrame.

        Args:
            rows: `"buffers"` (the weights, the largest first), `"operators"`,
                `"costs"` or `"kernels"`.
        """
        import pandas as pd

        kinds = {
            "buffers": (BufferFacts, largest_first(self.buffers)),
            "operators": (OperatorFacts, self.operators),
            "costs": (OperatorCost, self.costs),
            "kernels": (KernelFacts, self.kernels),
        }
        if rows not in kinds:
            raise ValueError(
                f"`rows` must be one of {', '.join(kinds)}. Received: rows={rows!r}"
            )
        kind, facts = kinds[rows]
        names = [field.name for field in fields(kind)]
        frame = pd.DataFrame(
            [[vars(row)[n] for n in names] for row in facts], columns=names
        )
        # Numbers with gaps: a plain column would turn them into floats.
        gaps = {"duplicate_of", "multiple_of"}.intersection(names)
        return frame.astype(dict.fromkeys(gaps, "Int64"))

    def to_dict(self) -> dict[str, Any]:
        """All facts as what JSON can hold."""
        totals = {
            "weight_bytes": self.weight_bytes,
            "duplicate_bytes": self.duplicate_bytes,
            "macs": self.macs,
            "float_operators": self.float_operators,
            "complaint": self.complaint(),
        }
        facts = json.loads(json.dumps(asdict(self))) | totals
        if self.memory is not None:
            facts["memory"]["total_bytes"] = self.memory.total_bytes
            facts["memory"]["rolled_bytes"] = self.memory.rolled_bytes
        return facts

    def __str__(self) -> str:
        return render(self)


def audit(
    source: str | os.PathLike | bytes, model: "keras.Model | None" = None
) -> Audit:
    """Reports what a .tflite file stores and computes.

    Weight tying is judged by the exported file, never by `count_params`: converters
    fold scales and normalization into kernels and so may store a shared kernel once
    per site. A kernel that stayed shared is one buffer with several uses.

    A *weight* is a buffer with content, of any size, that at least one tensor refers
    to: kernels, biases and tables, and also the small constants of operators such as
    the target of a reshape. Metadata, buffer 0 (empty by convention) and the scales of
    quantization, which are stored with the tensors, don't count. Nor do weights in
    files of their own (external buffers).

    With the Keras model that the file was made from, each weight is traced back to the
    variable it came from, by its values: in any order of the axes, with either sign,
    rounded to integers or half precision, or times a factor per channel. `untied` then
    tells the kernels that are stored several times, and `complaint` how to mend it.

    Imports neither Keras nor TensorFlow, and pandas only for a DataFrame.

    Args:
        source: Path of the file, or its bytes.
        model: The Keras model that was exported, such as the one passed to
            `export_tflite`, with the values that it had then.

    Returns:
        An `Audit`. `print` it, take the facts of one kind by `to_dataframe`, or all
        of it by `to_dict`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a .tflite model, or a damaged one, or if `model` is not
            a built Keras model.

    Example:
    >>> report = audit("tied.tflite")  # a Dense of 32 units without bias, used 3 times
    >>> [(weight.shape, weight.uses) for weight in report.buffers]
    [((32, 32), 3)]
    >>> report.weight_bytes, report.duplicate_bytes
    (4096, 0)
    >>> report.float_operators, report.macs
    ({'FULLY_CONNECTED': 3}, 3072)
    """
    parsed = flatbuffer.read(source)
    if isinstance(source, str | os.PathLike):
        size, path = os.path.getsize(source), str(os.fspath(source))
    else:
        size, path = len(source), None
    return audit_model(parsed, size, path=path, model=model)


def audit_model(
    parsed: flatbuffer.schema.ModelT,
    file_bytes: int,
    *,
    path: str | None = None,
    model: "keras.Model | None" = None,
) -> Audit:
    """`audit` of a model that was read already, or is about to be written.

    Args:
        parsed: The model, which is left as it is.
        file_bytes: Size of its file.
        path: Path of its file.
        model: The Keras model that was exported.
    """
    buffers = _buffer_facts(parsed)
    kernels: tuple[KernelFacts, ...] = ()
    if model is not None:
        origins = find_origins(parsed, candidates_of(model))
        variables = list(model.variables)
        names = {i: variables[o.variable].path for i, o in assign(origins).items()}
        buffers = tuple(replace(b, variable=names.get(b.index)) for b in buffers)
        numbered = {b.index: b for b in buffers}
        kernels = kernel_facts(parsed, variables, numbered, origins)
    costs = operator_costs(parsed)
    counts = Counter((cost.name, cost.dtype) for cost in costs)
    kinds = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Audit(
        path=path,
        file_bytes=file_bytes,
        buffers=buffers,
        operators=tuple(OperatorFacts(*kind, n) for kind, n in kinds),
        num_subgraphs=len(parsed.subgraphs),
        costs=costs,
        memory=estimate_memory(parsed, file_bytes),
        kernels=kernels,
        metadata=read_metadata(parsed),
    )


def _buffer_facts(model: flatbuffer.schema.ModelT) -> tuple[BufferFacts, ...]:
    weights = flatbuffer.weights(model)
    first = flatbuffer.first_copies(model, weights)
    multiples = find_multiples(model)
    uses: Counter[int] = Counter()
    calls: Counter[int] = Counter()
    for graph, times in zip(model.subgraphs, num_calls(model), strict=True):
        read = [i for op in graph.operators for i in op.inputs if i >= 0]
        for index in read:
            uses[graph.tensors[index].buffer] += 1
            calls[graph.tensors[index].buffer] += times
    return tuple(
        BufferFacts(
            index=index,
            name=flatbuffer.text(tensors[0].name),
            shape=shape_of(tensors[0]),
            dtype=flatbuffer.dtype_name(tensors[0].type),
            nbytes=len(flatbuffer.buffer_bytes(model, index)),
            uses=uses[index],
            num_tensors=len(tensors),
            duplicate_of=None if first[index] == index else first[index],
            calls=calls[index],
            multiple_of=multiples.get(index),
        )
        for index, tensors in weights.items()
    )
