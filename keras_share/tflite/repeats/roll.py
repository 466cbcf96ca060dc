"""`roll`: weights that are shared in the file are shared in memory, too."""

import os
from dataclasses import dataclass, field

from keras_share.atomic import check_writable, write_atomically
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.dedupe import share_buffers
from keras_share.tflite.file.unused import drop_buffers, drop_tensors
from keras_share.tflite.repeats.body import write_bodies
from keras_share.tflite.repeats.compare import check_same
from keras_share.tflite.repeats.left import Left, find_left
from keras_share.tflite.repeats.line import Line
from keras_share.tflite.repeats.windows import Windows, find_windows
from keras_share.tflite.runtimes.apart import check_timeout


@dataclass(frozen=True)
class Body:
    """One subgraph that stands for operators which repeated.

    Attributes:
        name: Its name in the file.
        calls: In how many places it is called.
        operators: Number of its operators.
        arguments: Number of tensors that are passed to it: activations, and what is
            private to each site.
        kernel_bytes: Bytes of the kernels in it, which the runtime packs once.
    """

    name: str
    calls: int
    operators: int
    arguments: int
    kernel_bytes: int


@dataclass(frozen=True)
class Rolled:
    """What `roll_model` did to a model.

    Attributes:
        bodies: The subgraphs it made.
        left: Kernels that are still packed several times, with the reason.
        operators: Number of operators before and after, over all subgraphs.
    """

    bodies: tuple[Body, ...]
    left: tuple[Left, ...]
    operators: tuple[int, int]


@dataclass(frozen=True)
class RollReport(Rolled):
    """What `roll` did to a file: besides the facts of `Rolled`, the file.

    Attributes:
        nbytes: Size of the file before and after.
        data: The bytes of the rolled file. It is the file itself if there was nothing
            to do.
    """

    nbytes: tuple[int, int]
    data: bytes = field(repr=False)

    def to_dict(self) -> dict:
        """The report as what JSON can hold, without the file."""
        return {
            "bodies": [vars(body) for body in self.bodies],
            "left": [vars(left) for left in self.left],
            "operators": list(self.operators),
            "bytes": list(self.nbytes),
        }

    def __str__(self) -> str:
        if not self.bodies:
            lines = ["nothing to roll: no kernel is used twice in the same way"]
        else:
            sizes = *self.operators, *self.nbytes
            lines = ["operators {:,} -> {:,}, bytes {:,} -> {:,}".format(*sizes)]
        lines += [
            f"{body.name}: {body.calls} calls of {body.operators} operators, "
            f"{body.arguments} arguments, kernels of {body.kernel_bytes:,} bytes"
            for body in self.bodies
        ]
        lines += [str(left) for left in self.left]
        return "\n".join(lines)


def roll(
    source: str | os.PathLike | bytes,
    output: str | os.PathLike | None = None,
    *,
    min_bytes: int = 0,
    timeout: float = 600.0,
) -> RollReport:
    """Makes a file whose tied kernels take memory once instead of once per use.

    LiteRT's CPU delegate packs a copy of a kernel for each operator that uses it, so a
    file in which 24 operators share one kernel takes the memory, and the memory
    traffic, of 24. Here runs of operators that repeat around tied kernels become one
    subgraph, which is called wherever they were, for every pattern of sharing:
    contiguous, cyclic, reversed or irregular. What differs from site to site and is
    added or multiplied (scales, offsets, biases, masks) is passed to the calls;
    operators with other private constants stay where they are, between two bodies. The
    file may come from any converter.

    A call takes 1 to 2 microseconds on a desktop CPU: rolling makes models faster whose
    kernels together exceed the cache, and others a little slower (see `min_bytes`).
    Delegates for GPUs and NPUs want no calls: give them the file as it was.

    Both files are run on random inputs with LiteRT's reference kernels, each in a
    process of its own, before anything is written: their outputs must be the same
    numbers.

    Args:
        source: Path of the file, or its bytes.
        output: Where to write the rolled file; it is in the report as well.
        min_bytes: Bodies whose kernels have fewer bytes than this are left unrolled.
        timeout: Seconds that the comparison may take.

    Returns:
        A `RollReport`, which also names kernels that stay packed several times, and
        why.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a .tflite model, or LiteRT can't run it to compare.
        OSError: If `output` can't be written; told before the work.
        RuntimeError: If the outputs differ. Nothing is written then.

    Example:
    >>> import keras, keras_share
    >>> stack = keras_share.SharedStack(keras.layers.Dense(64, "relu"), "ABAB")
    >>> model = keras.Sequential([keras.Input((64,)), stack])
    >>> _ = keras_share.export_tflite(model, "model.tflite", target="accelerator")
    >>> report = keras_share.roll("model.tflite", "rolled.tflite")
    >>> [(body.calls, body.operators) for body in report.bodies]
    [(2, 2)]
    """
    check_timeout(timeout)
    if output is not None:
        check_writable(output)
    data = flatbuffer.contents(source)
    report = roll_data(data, min_bytes)
    if report.bodies:
        check_same(data, report.data, timeout)
    if output is not None:
        write_atomically(output, report.data)
    return report


def roll_data(data: bytes, min_bytes: int = 0) -> RollReport:
    """`roll` without the comparison of outputs."""
    model = flatbuffer.read(data)
    found = roll_model(model, min_bytes)
    rolled = flatbuffer.pack(model) if found.bodies else data
    return RollReport(**vars(found), nbytes=(len(data), len(rolled)), data=rolled)


def roll_model(model: flatbuffer.schema.ModelT, min_bytes: int = 0) -> Rolled:
    """Rolls a model that was read, in place, and compares no outputs.

    Equal weights are stored once, too, whether there is something to roll or not.
    """
    before = _count(model)
    share_buffers(model)
    bodies: list[Body] = []
    while True:
        line = Line.of(model)
        found = find_windows(line)
        kept = [w for w in found if _kernel_bytes(line, w) >= min_bytes]
        if not kept:
            break
        bodies += _write(line, kept)
        # A use that has lost its bias and activation may be like another one now.
    left = find_left(line, min_bytes)
    return Rolled(tuple(bodies), left, (before, _count(model)))


def _write(line: Line, kept: list[Windows]) -> list[Body]:
    graphs = write_bodies(line, kept)
    bodies = [
        Body(
            flatbuffer.text(graph.name),
            len(windows.starts),
            len(graph.operators),
            len(graph.inputs),
            _kernel_bytes(line, windows),
        )
        for windows, graph in zip(kept, graphs, strict=True)
    ]
    drop_tensors(line.model)
    share_buffers(line.model)
    drop_buffers(line.model)
    return bodies


def _count(model: flatbuffer.schema.ModelT) -> int:
    return sum(len(graph.operators) for graph in model.subgraphs)


def _kernel_bytes(line: Line, windows: Windows) -> int:
    first = windows.starts[0]
    run = map(line.operation, range(first, first + windows.length))
    return sum(line.kernel_bytes[kernel] for kernel in {o.kernel for o in run} - {None})
