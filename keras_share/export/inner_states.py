"""Files that keep their states, checked step by step against those that don't."""

import importlib.util
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.metadata import write_metadata
from keras_share.tflite.file.names import strip
from keras_share.tflite.file.states import keep_inside
from keras_share.tflite.runtimes.apart import run_apart
from keras_share.tflite.runtimes.micro import run_micro

FORMS = ("external", "internal")
_MOST = 32  # steps that are compared


def check_form(form: str, states: Sequence[str], dynamic_batch: bool) -> None:
    """Raises ValueError if states can't be kept so, or there are none to keep."""
    if form not in FORMS:
        raise ValueError(
            f"`state` must be one of {', '.join(FORMS)}. Received: state={form!r}"
        )
    if form == "internal" and dynamic_batch:
        raise ValueError(
            "A file keeps the states of as many streams as it was made for: leave "
            "dynamic_batch=False with state='internal'. Received: dynamic_batch=True"
        )
    if form == "internal" and not states:
        raise ValueError(
            "state='internal' is for a model with states, as keras_share.streaming "
            "makes. Received: a model without. Pass streaming(model, step)."
        )


def with_inner_states(
    data: bytes,
    states: Sequence[str],
    rows: Sequence[Mapping[str, np.ndarray]],
    facts: Mapping[str, Any],
    target: str,
    timeout: float,
) -> bytes:
    """The file that keeps the states which another one takes and gives back.

    Args:
        data: The other file.
        states: Names of the states.
        rows: Samples by name, of which the inputs are taken, one step after the other.
        facts: The metadata of the file.
        target: As in `export_tflite`.
        timeout: Seconds that the comparison may take.

    Raises:
        RuntimeError: If the files compute different numbers.
    """
    model = flatbuffer.read(data)
    keep_inside(model, states)
    if target == "micro":
        strip(model)
    inner = flatbuffer.pack(model)
    steps = [
        {name: x for name, x in row.items() if name not in states}
        for row in rows[:_MOST]
    ]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate((data, inner)):
            path = Path(folder, f"{number}.tflite")
            path.write_bytes(content)
            results.append(run_apart("run_steps", str(path), steps, timeout=timeout))
    for outer, found in zip(*results, strict=True):
        if not all(np.array_equal(outer[name], y) for name, y in found.items()):
            raise RuntimeError(
                "A file that keeps its states must compute what one does that is given "
                "them, but its outputs are others. Nothing was written. Please report "
                "this with the model."
            )
    if target == "micro" and importlib.util.find_spec("tflite_micro") is not None:
        arena = run_micro(inner, steps[0], timeout=timeout).arena_bytes
        write_metadata(model, {**facts, "arena_bytes": arena})
        inner = flatbuffer.pack(model)
    return inner
