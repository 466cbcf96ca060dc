"""`dedupe`: store weights with the same content once."""

import reprlib

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.unused import drop_buffers


def dedupe(data: bytes) -> bytes:
    """Stores weights of a .tflite model that have the same content once.

    Quantizers and other tools that rewrite a file may store a shared kernel once per
    use. Here every tensor is pointed to the first buffer with its content, and the
    later ones are taken out. Names, shapes, types and quantization belong to the
    tensors and stay as they are, so the outputs are the same to the bit; as in the
    files of TensorFlow's converter, tensors of different scales may share bytes.

    The state of variable tensors and buffers that metadata refers to stay apart.

    Caution: XNNPACK's weight cache (`CpuOptions.xnnpack_weight_cache_path` of LiteRT's
    `CompiledModel`) takes two operators for the same one if they share both kernel and
    bias, whatever their scales, and returns wrong results for int8 files in which the
    scales differ. This holds for any file with shared buffers, with or without
    `dedupe`; the stock `Interpreter` has no such cache.

    Args:
        data: The bytes of the model.

    Returns:
        The bytes of the smaller model, or `data` itself if nothing is stored twice.

    Raises:
        ValueError: If `data` is not a .tflite model, or a damaged one.
        TypeError: If `data` is not `bytes`.

    Example:
    >>> data = open("duplicated.tflite", "rb").read()
    >>> smaller = dedupe(data)
    >>> len(smaller) < len(data), dedupe(smaller) is smaller
    (True, True)
    """
    if not isinstance(data, bytes):
        raise TypeError(
            "`data` must be the bytes of a .tflite model. "
            f"Received: {reprlib.repr(data)} of type {type(data).__name__}. "
            "Read a file first: Path(path).read_bytes()."
        )
    model = flatbuffer.read(data)
    return flatbuffer.pack(model) if share_buffers(model) else data


def share_buffers(model: flatbuffer.schema.ModelT) -> bool:
    """Stores weights of the same content once; returns whether there were any."""
    first = flatbuffer.first_copies(model, _movable(model))
    if all(index == kept for index, kept in first.items()):
        return False
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = first.get(tensor.buffer, tensor.buffer)
    drop_buffers(model)
    return True


def _movable(model: flatbuffer.schema.ModelT) -> list[int]:
    """The weights that may share a buffer with others."""
    metadata = {entry.buffer for entry in model.metadata or ()}
    if model.metadataBuffer is not None:
        metadata.update(map(int, model.metadataBuffer))
    return [
        index
        for index, tensors in flatbuffer.weights(model).items()
        if index not in metadata and not any(t.isVariable for t in tensors)
    ]
