"""An estimate of the memory that a .tflite model takes in the stock runtime."""

from collections import Counter
from dataclasses import dataclass

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.kernel_places import KERNEL_OPERATORS
from keras_share.tflite.file.stored import bits, constants, nbytes


@dataclass(frozen=True)
class MemoryEstimate:
    """What LiteRT's interpreter with XNNPACK would hold of a model: an estimate.

    It adds up what is known to be held of this model, not what a process takes: the
    interpreter itself comes on top. With `ai_edge_litert` 2.3 on Linux a process grew
    by 12 MB more than the estimate, for 24 uses of a Dense of width 1024: 112 MB
    against 100 (float32), 37 against 25 (dynamic range), and with one subgraph for all
    uses 20 against 8 and 14 against 2; by 15 MB more in float16 (117 against 102).

    Attributes:
        file_bytes: The file, which is mapped: all of it counts once it was read.
        packed_bytes: Kernels in the order in which XNNPACK reads them: one copy for
            each operator that uses them. Those in float16 are held in 4 bytes.
        packed_once_bytes: The same with one copy of each kernel, as in a file in which
            one subgraph stands for all uses.
        arena_bytes: Activations: at least the most that is alive at once, operators
            running in order of the file. Each subgraph has its own.
    """

    file_bytes: int
    packed_bytes: int
    packed_once_bytes: int
    arena_bytes: int

    @property
    def total_bytes(self) -> int:
        """Bytes in all, as the file stands."""
        return self.file_bytes + self.packed_bytes + self.arena_bytes

    @property
    def rolled_bytes(self) -> int:
        """Bytes in all, if each kernel was packed once."""
        return self.file_bytes + self.packed_once_bytes + self.arena_bytes


def estimate_memory(model: schema.ModelT, file_bytes: int) -> MemoryEstimate:
    """Estimates what the stock runtime holds of a model.

    Args:
        model: The model.
        file_bytes: Size of its file.
    """
    weights = flatbuffer.weights(model)
    first = flatbuffer.first_copies(model, weights)
    packed = 0
    once: dict[int, int] = {}
    for graph in model.subgraphs:
        constant = constants(model, graph, weights)
        for op in graph.operators:
            if flatbuffer.operator_name(model, op) not in KERNEL_OPERATORS:
                continue
            kernel = constant.get(int(op.inputs[1])) if len(op.inputs) > 1 else None
            if kernel is not None:
                size = _packed_bytes(kernel)
                packed += size
                once[first[kernel.buffer]] = size
    arena = sum(_most_alive(graph, weights) for graph in model.subgraphs)
    return MemoryEstimate(file_bytes, packed, sum(once.values()), arena)


def _packed_bytes(kernel: schema.TensorT) -> int:
    dtype = flatbuffer.dtype_name(kernel.type)
    return nbytes(kernel) * 32 // bits(dtype) if "float" in dtype else nbytes(kernel)


def _most_alive(graph: schema.SubGraphT, weights: dict) -> int:
    """The most bytes of activations that are alive at once."""
    last = len(graph.operators)
    begin: dict[int, int] = {int(i): 0 for i in graph.inputs}
    end: dict[int, int] = {}
    for time, op in enumerate(graph.operators):
        for index in map(int, op.outputs):
            begin.setdefault(index, time)
            end[index] = time
        for index in map(int, op.inputs):
            begin.setdefault(index, 0)  # the state that a variable tensor holds
            end[index] = time
    end.update((int(i), last) for i in graph.outputs)
    change: Counter[int] = Counter()
    for index, time in begin.items():
        if index >= 0 and graph.tensors[index].buffer not in weights:
            tensor = graph.tensors[index]
            state = bool(tensor.isVariable)
            change[0 if state else time] += nbytes(tensor)
            change[last + 1 if state else end.get(index, time) + 1] -= nbytes(tensor)
    alive = most = 0
    for time in sorted(change):
        alive += change[time]
        most = max(most, alive)
    return most
