"""Running a `.tflite` file in the LiteRT interpreter."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from keras_share.tflite.file.flatbuffer import contents, read
from keras_share.tflite.file.signatures import Signature, signatures
from keras_share.tflite.runtimes.samples import (
    End,
    Outputs,
    Samples,
    batches,
    joined,
)


def predict_tflite(
    source: str | os.PathLike | bytes,
    inputs: Samples,
    *,
    signature: str | None = None,
    raw: bool = False,
) -> Outputs:
    """Runs a file on samples in LiteRT's interpreter.

    They go in one after the other or, where the file leaves the batch size open, all
    at once. A file with states of its own (`state="internal"`) goes on from one to the
    next: to it they are the steps of one stream.

    Args:
        source: Path of a file with a signature, as `export_tflite` writes, or its
            bytes.
        inputs: The samples along the first axis: an array, for several inputs a dict
            from their names to arrays or a list in the order of the file, which is
            that of the model in files of `export_tflite`; or a function that returns
            an iterable of such. Real numbers are rounded where the file takes
            integers.
        signature: Which one to run, of a file that has several.
        raw: Whether integers with a scale are returned as they are. By default they
            are converted to the real numbers that they stand for.

    Returns:
        The outputs along the first axis; for several outputs, a dict from their names
        in the file to arrays, in its order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the names, shapes or types of the inputs don't fit the file, it
            has no signature of this name, or the interpreter can't run it.

    Example:
    >>> import keras, keras_share, numpy as np
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    >>> report = keras_share.export_tflite(model, "model.tflite")
    >>> keras_share.predict_tflite("model.tflite", np.ones((5, 8), "float32")).shape
    (5, 2)
    """
    from ai_edge_litert.interpreter import Interpreter

    data = contents(source)
    called = _called(data, signature)
    with _errors_of_the_file():
        runner = Interpreter(model_content=data).get_signature_runner(called.key)
    details = runner.get_input_details()
    takes = [_end(name, details[name]) for name in called.inputs]
    found = runner.get_output_details()
    gives = [_end(name, found[name]) for name in _in_order(called.outputs)]
    is_open = all(list(d["shape_signature"][:1]) == [-1] for d in details.values())
    rows = []
    for batch in batches(inputs, takes):
        step = len(batch[0]) if is_open else 1
        for i in range(0, len(batch[0]), step):
            arrays = {
                e.name: a[i : i + step] for e, a in zip(takes, batch, strict=True)
            }
            with _errors_of_the_file():
                results = runner(**arrays)
            rows.append([results[end.name] for end in gives])
    return joined(rows, gives, raw)


@contextmanager
def _errors_of_the_file() -> Iterator[None]:
    """Says of the interpreter's errors that they are the file's."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            "LiteRT's interpreter must be able to run the file. "
            f"Received: {error}. Copy or export the file again; `audit` tells its "
            "operators."
        ) from error


def _called(data: bytes, name: str | None) -> Signature:
    """The signature of this name, or the only one."""
    known = {s.key: s for s in signatures(read(data)) if s.key is not None}
    if not known:
        raise ValueError("The file must have a signature. Received: one without.")
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name not in known:
        raise ValueError(
            "`signature` must name one of the file's. "
            f"Received: {name!r}, and the file has {sorted(known)}"
        )
    return known[name]


def _end(name: str, details: dict[str, Any]) -> End:
    shape = tuple(map(int, details["shape_signature"][1:]))
    return End(name, shape, np.dtype(details["dtype"]), *details["quantization"])


def _in_order(names: Iterable[str]) -> list[str]:
    """The file's order, but for names of the converter: output_2 before output_10."""
    names = list(names)
    if all(re.fullmatch(r"output_\d+", name) for name in names):
        names.sort(key=lambda name: int(name.removeprefix("output_")))
    return names
