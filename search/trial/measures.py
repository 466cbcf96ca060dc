"""What is measured of the file that a trial's model becomes."""

import math
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import keras

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
    """Exports a model, reads its file, and runs it if asked for.

    | measure | what it is |
    |---|---|
    | `exported_bytes` | size of the file |
    | `weight_bytes` | bytes of the weights it stores |
    | `macs` | multiply-accumulates of one inference: an estimate of its time |
    | `estimated_memory_bytes` | what LiteRT's CPU runtime will hold, as `audit` says |
    | `latency_ms` | median time of a run in LiteRT's interpreter, one thread |
    | `memory_bytes` | growth of resident memory by loading and running it |

    Sizes depend on the pattern and not on the values of weights, so all of this can
    be known before training.

    Args:
        model: A built Keras model.
        export: Keyword arguments of `keras_share.export_tflite`.
        names: Names of measures; the last two are made only if one of them is among
            these.

    Raises:
        RuntimeError: If the file does not run where `latency_ms` or `memory_bytes` is
            asked for.
    """
    import keras_share

    # For its size: a rolled file has about the same and takes longer to make, and
    # weights that come apart are a result of the trial. What runs is the real file.
    runs = not set(MEASURED).isdisjoint(names)
    defaults = {"strict": False} | ({} if runs else {"target": "accelerator"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        keras_share.export_tflite(model, path, **{**defaults, **export})
        facts = keras_share.audit(path)
        assert facts.memory is not None  # of a file it is always estimated
        measures: dict[str, float] = {
            "exported_bytes": facts.file_bytes,
            "weight_bytes": facts.weight_bytes,
            "macs": facts.macs,
            "estimated_memory_bytes": facts.memory.total_bytes,
        }
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
