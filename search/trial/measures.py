"""What is measured of the file that a trial's model becomes."""

import math
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_share.tflite.inspect.audit import Audit

# Known before training, from the file.
STATIC = (
    "parameters",
    "exported_bytes",
    "weight_bytes",
    "macs",
    "estimated_memory_bytes",
)
# Measured by running the file, which takes seconds.
MEASURED = ("latency_ms", "memory_bytes")
MEASURES = (*STATIC, *MEASURED)


def measure_file(
    model: keras.Model, export: Mapping[str, Any], names: Collection[str] = ()
) -> dict[str, float]:
    """Exports a model, reads its file, and runs it if one of `MEASURED` is asked for.

    Sizes depend on the pattern and not on the values of weights, so all of this can be
    known before training. Sizes are in bytes, `macs` are multiply-accumulates of one
    inference, `latency_ms` is the median time of a run in LiteRT's interpreter on one
    thread, and `memory_bytes` the growth of resident memory by loading and running.

    Raises:
        RuntimeError: If the file does not run, or the system tells no memory.
    """
    import keras_share

    # For its size: a rolled file has about the same and takes longer to make, and
    # weights that come apart are a result of the trial. What runs is the real file.
    runs = not set(MEASURED).isdisjoint(names)
    defaults = {"strict": False} | ({} if runs else {"target": "accelerator"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        keras_share.export_tflite(model, path, **{**defaults, **export})
        measures = costs_of(keras_share.audit(path))
        if runs:
            [row] = keras_share.benchmark(path).rows
            if row.error:
                raise RuntimeError(
                    "The file of a trial must run to measure its latency or memory. "
                    f"Received: {row.error}"
                )
            measures["latency_ms"] = row.median_ms
            grown = row.grown_mb * 2**20
            if math.isfinite(grown):
                measures["memory_bytes"] = int(grown)
            elif "memory_bytes" in names:
                raise RuntimeError(
                    "memory_bytes can only be measured where the system tells the "
                    "memory of a process, in /proc. Received: no such figure. Leave "
                    "it out, or take estimated_memory_bytes."
                )
    return measures


def costs_of(facts: Audit) -> dict[str, float]:
    """What can be read from a file of what it costs."""
    assert facts.memory is not None  # of a file it is always estimated
    costs: dict[str, float] = {
        "exported_bytes": facts.file_bytes,
        "weight_bytes": facts.weight_bytes,
        "macs": facts.macs,
        "estimated_memory_bytes": facts.memory.total_bytes,
    }
    if "arena_bytes" in facts.metadata:  # of TensorFlow Lite Micro
        costs["arena_bytes"] = facts.metadata["arena_bytes"]
    return costs
