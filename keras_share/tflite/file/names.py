"""Shorter names of tensors, or none: a converter's take a tenth of a small file."""

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.file.metadata import NAME
from keras_share.tflite.file.unused import drop_buffers

_KERNEL = 256  # bytes from which a constant is known by its name


def shorten_names(model: schema.ModelT) -> None:
    """Leaves of a name what tells the layer; names of inputs and outputs stay.

    What became one operator, the converter calls by the paths of all its parts. Of
    constants the first path stays, of what is computed the layer in it:
    `model/block_3/dense/MatMul;model/block_3/Relu` becomes `block_3`.
    """
    for graph in model.subgraphs:
        ends = {int(i) for i in (*graph.inputs, *graph.outputs)}
        for index, tensor in enumerate(graph.tensors):
            if index in ends:
                continue
            name, _, _ = flatbuffer.text(tensor.name).partition(";")
            if not flatbuffer.has_content(model, tensor):
                name = _layer(name)
            tensor.name = name.encode()


def strip(model: schema.ModelT) -> None:
    """Leaves out what no kernel reads, for flash: most names, and empty buffers.

    Inputs and outputs keep their names, large constants that of their layer, and of the
    metadata only ours stay. Tensors without content have buffer 0 in common, which
    stands for that.
    """
    for graph in model.subgraphs:
        ends = {int(i) for i in (*graph.inputs, *graph.outputs)}
        for index, tensor in enumerate(graph.tensors):
            size = flatbuffer.buffer_size(model, tensor.buffer)
            if index not in ends:
                name = _layer(flatbuffer.text(tensor.name))
                tensor.name = name.encode() if size >= _KERNEL else None
            if not size and not tensor.isVariable:
                tensor.buffer = 0
    model.metadata = [
        entry for entry in model.metadata or () if flatbuffer.text(entry.name) == NAME
    ]
    drop_buffers(model)


def _layer(name: str) -> str:
    """The layer in a path: what follows on the model."""
    _, _, inside = name.partition("/")
    return (inside or name).partition("/")[0]
