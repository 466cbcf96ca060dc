"""Shorter names of tensors: a converter's take a tenth of a small file."""

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema


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
                _, _, inside = name.partition("/")
                name = (inside or name).partition("/")[0]
            tensor.name = name.encode()
