"""`dedupe`: store weights with the same content once."""

import os
from dataclasses import dataclass, field

from keras_share.atomic import check_writable, write_atomically
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.unused import drop_buffers


@dataclass(frozen=True)
class DedupeReport:
    """What `dedupe` did to a file.

    Attributes:
        nbytes: Size of the file before and after.
        data: The bytes of the smaller file. It is the file itself if nothing was
            stored twice.
    """

    nbytes: tuple[int, int]
    data: bytes = field(repr=False)

    def to_dict(self) -> dict[str, list[int]]:
        """The report as what JSON can hold, without the file."""
        return {"bytes": list(self.nbytes)}

    def __str__(self) -> str:
        before, after = self.nbytes
        if before == after:
            return f"nothing is stored twice: {before:,} bytes"
        return f"bytes {before:,} -> {after:,}"


def dedupe(
    source: str | os.PathLike | bytes, output: str | os.PathLike | None = None
) -> DedupeReport:
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
        source: Path of the file, or its bytes.
        output: Where to write the smaller file; it is in the report as well.

    Returns:
        A `DedupeReport`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a .tflite model, or a damaged one.
        OSError: If `output` can't be written; told before the work.

    Example:
    >>> report = dedupe("duplicated.tflite", "smaller.tflite")
    >>> report.nbytes[1] < report.nbytes[0]
    True
    >>> again = dedupe("smaller.tflite")
    >>> again.nbytes[1] == again.nbytes[0]
    True
    """
    if output is not None:
        check_writable(output)
    data = flatbuffer.contents(source)
    model = flatbuffer.read(data)
    smaller = flatbuffer.pack(model) if share_buffers(model) else data
    if output is not None:
        write_atomically(output, smaller)
    return DedupeReport((len(data), len(smaller)), smaller)


def share_buffers(model: flatbuffer.schema.ModelT) -> bool:
    """Stores weights of a model that have the same content once, in place.

    Returns:
        Whether there were any.
    """
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
