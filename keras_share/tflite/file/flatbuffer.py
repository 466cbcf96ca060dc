"""Reading and writing a .tflite file through LiteRT's schema: the one place for it."""

import copy
import hashlib
import os
import reprlib
import struct
from collections.abc import Iterable
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_share.tflite.file.whole import (
    SHARING,
    check_counts,
    check_references,
    complete,
)

IDENTIFIER = b"TFL3"
ALIGNMENT = 16  # of constant buffers: `force_align: 16` in the schema
MAX_BYTES = 2**31 - 1  # offsets in a flatbuffer are signed 32-bit integers

_OPERATORS = {
    code: name
    for name, code in vars(schema.BuiltinOperator).items()
    if isinstance(code, int)
}
_DTYPES = {
    code: name.lower()
    for name, code in vars(schema.TensorType).items()
    if isinstance(code, int)
}
# What flatbuffers' Python reader raises where an offset or a length leads astray.
_READER_ERRORS = (struct.error, IndexError, TypeError, ValueError)


def read(source: str | os.PathLike | bytes) -> schema.ModelT:
    """Reads a .tflite model into the mutable objects of LiteRT's schema.

    Everything is checked that later code leans on: the file is whole, and operators
    and tensors refer to tensors and buffers that exist. Lists that the file leaves
    out are empty, and buffers that stand behind the flatbuffer (by offset and size)
    are brought in, so that `pack` stores them inside it.

    Args:
        source: Path of the file, or its bytes.

    Returns:
        A `ModelT` of `ai_edge_litert.schema_py_generated`. Its arrays are read-only
        views of the file: replace them, don't write into them.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a .tflite model, or a damaged one.

    Example:
    >>> model = read("tied.tflite")
    >>> [operator_name(model, op) for op in model.subgraphs[0].operators]
    ['FULLY_CONNECTED', 'FULLY_CONNECTED', 'FULLY_CONNECTED']
    """
    raw = _Whole(contents(source))
    if isinstance(source, bytes | bytearray | memoryview):
        origin = f"{len(raw)} bytes"
    else:
        origin = f"{os.fspath(source)!r} of {len(raw)} bytes"
    if memoryview(raw)[4:8] != IDENTIFIER:
        raise ValueError(
            f"A .tflite model carries the identifier {IDENTIFIER!r} in its bytes 4 to "
            f"8. Received: {origin} that start with {bytes(memoryview(raw)[:8])!r}. "
            "Pass the path or the bytes that a converter to .tflite returned (a "
            ".keras file or a SavedModel must be converted first)."
        )
    try:
        root = schema.Model.GetRootAs(raw, 0)
        check_counts(root, len(raw))
        model = schema.ModelT.InitFromObj(root)
        complete(model, raw)
        check_references(model)
    except _READER_ERRORS as error:
        raise ValueError(
            "A .tflite model must be whole and consistent. "
            f"Received: {origin}, truncated or damaged ({error}). "
            "Copy or export the file again."
        ) from error
    return model


def pack(model: schema.ModelT) -> bytes:
    """Writes the objects of `read` as the bytes of a .tflite file.

    Every buffer starts at a multiple of 16 bytes, as LiteRT's kernels expect. (The
    schema's own `BufferT.Pack` ignores that: it keeps 4 bytes.) Equal lists of numbers
    are written once: the zero points of the channels of a weight are all zero, take 8
    bytes each, and the converter writes them again for every use.

    Args:
        model: A `ModelT`, which is left as it is.

    Raises:
        ValueError: If the model is too large for a flatbuffer, or holds options of an
            operator that the installed `ai_edge_litert` does not know.

    Example:
    >>> pack(read("tied.tflite"))[4:8]
    b'TFL3'
    """
    _check_options(model)
    aligned = copy.copy(model)
    aligned.buffers = [_Aligned.of(buffer) for buffer in model.buffers]
    nbytes = sum(len(b.data) for b in aligned.buffers if b.data is not None)
    try:
        if nbytes > MAX_BYTES:
            raise flatbuffers.builder.BuilderSizeError(f"constants of {nbytes} bytes")
        builder = _Builder(min(nbytes + nbytes // 8 + 2**16, MAX_BYTES))
        builder.Finish(aligned.Pack(builder), file_identifier=IDENTIFIER)
    except flatbuffers.builder.BuilderSizeError as error:
        raise ValueError(
            f"A .tflite model must be at most {MAX_BYTES} bytes, the limit of a "
            f"flatbuffer. Received: {error}. Quantize the model or split it."
        ) from error
    return bytes(builder.Output())


def contents(source: str | os.PathLike | bytes) -> bytes:
    """The bytes of a model that is passed as a path or as bytes.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If `source` is neither a path nor bytes.
        ValueError: If the file is too large for a model.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            "A .tflite model must be passed as a path (str or os.PathLike) or as "
            f"bytes. Received: {reprlib.repr(source)} of type {type(source).__name__}"
        )
    if not os.path.isfile(source):
        raise FileNotFoundError(
            "The path of a .tflite model must lead to an existing file. "
            f"Received: {os.fspath(source)!r}. Check the path, or export the model "
            "first."
        )
    size = os.path.getsize(source)
    if size > MAX_BYTES:  # before it fills the memory
        raise ValueError(
            f"A .tflite model must be at most {MAX_BYTES} bytes, the limit of a "
            f"flatbuffer. Received: {os.fspath(source)!r} of {size} bytes."
        )
    return Path(source).read_bytes()


def operator_name(model: schema.ModelT, op: schema.OperatorT) -> str:
    """The operator's name in the schema, such as `CONV_2D`, or `CUSTOM:<its name>`."""
    code = model.operatorCodes[op.opcodeIndex]
    # Codes below 127 stand in both fields or, in older files, in the deprecated one.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = _OPERATORS.get(number, f"OPERATOR_{number}")
    return f"{name}:{text(code.customCode)}" if code.customCode else name


def dtype_name(code: int) -> str:
    """The name of a tensor's type, in Keras's spelling: `float32`, `int8`."""
    return _DTYPES.get(code, f"type_{code}")


def text(name: bytes | str | None) -> str:
    """A name of the file as `str`, which `read` leaves as bytes."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name or ""


def buffer_bytes(model: schema.ModelT, index: int) -> bytes:
    """The content of the buffer `index`, empty where it has none."""
    return _array(model.buffers[index]).tobytes()


def buffer_size(model: schema.ModelT, index: int) -> int:
    """Bytes of the buffer `index`."""
    return _array(model.buffers[index]).size


def has_content(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    """Whether the values of a tensor are stored in the file."""
    return bool(tensor.buffer) and _array(model.buffers[tensor.buffer]).size > 0


def weights(model: schema.ModelT) -> dict[int, list[schema.TensorT]]:
    """The tensors of each weight, by the index of its buffer, in order of the file.

    A weight is a buffer with content that at least one tensor refers to. Buffer 0 is
    empty by convention and no weight; nor is a buffer that only metadata refers to.
    """
    tensors: dict[int, list[schema.TensorT]] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if has_content(model, tensor):
                tensors.setdefault(tensor.buffer, []).append(tensor)
    return dict(sorted(tensors.items()))


def first_copies(model: schema.ModelT, indices: Iterable[int]) -> dict[int, int]:
    """For each of these buffers, the first one of them with the same content."""
    first: dict[bytes, int] = {}
    return {
        index: first.setdefault(
            hashlib.sha256(_array(model.buffers[index]).data).digest(), index
        )
        for index in indices
    }


class _Whole(bytes):
    """Bytes whose slices lie inside, and are not many times as much as all of it.

    The reader would cut a string short, silently, and copies one for each reference.
    """

    copied = 0

    def __getitem__(self, key):
        # A string is followed by a zero, so its end is never the end of the file.
        if isinstance(key, slice) and key.stop >= len(self):
            raise IndexError(f"a string ends at byte {key.stop} of {len(self)}")
        part = super().__getitem__(key)
        if isinstance(key, slice):
            self.copied += len(part)
            if self.copied > SHARING * len(self):
                raise ValueError(f"strings of more than {self.copied} bytes")
        return part


class _Builder(flatbuffers.Builder):
    """A builder that writes equal vectors of numbers once and refers to them again."""

    def __init__(self, size: int):
        super().__init__(size)
        self._vectors: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
        if x.dtype == np.uint8:  # constants, which `dedupe` is for
            return super().CreateNumpyVector(x)
        key = x.dtype.str, x.tobytes()
        if key not in self._vectors:
            self._vectors[key] = super().CreateNumpyVector(x)
        return self._vectors[key]


class _Aligned(schema.BufferT):
    """A buffer that is written at a multiple of `ALIGNMENT`."""

    @classmethod
    def of(cls, buffer: schema.BufferT) -> "_Aligned":
        data = None if buffer.data is None else _array(buffer)
        return cls(data, buffer.offset, buffer.size)

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802
        if self.data is not None:
            builder.Prep(ALIGNMENT, len(self.data))
        return super().Pack(builder)


def _array(buffer: schema.BufferT) -> np.ndarray:
    data = () if buffer.data is None else buffer.data
    if isinstance(data, bytes | bytearray):
        return np.frombuffer(data, np.uint8)
    return np.ascontiguousarray(data, np.uint8)


def _check_options(model: schema.ModelT) -> None:
    # Unknown options unpack to None, and the packed file would lack them silently.
    for graph in model.subgraphs:
        for op in graph.operators:
            if (op.builtinOptionsType and op.builtinOptions is None) or (
                op.builtinOptions2Type and op.builtinOptions2 is None
            ):
                raise ValueError(
                    "The options of every operator must be known to the installed "
                    f"ai_edge_litert to be written. Received: "
                    f"{operator_name(model, op)} with options of type "
                    f"{op.builtinOptionsType or op.builtinOptions2Type}. "
                    "Upgrade ai_edge_litert."
                )
