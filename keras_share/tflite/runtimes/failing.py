"""Which operator of a file a runtime fails at."""

import bisect
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.runtimes.apart import RunError, run_apart


def failing_operator(
    data: bytes, mode: str, inputs: Mapping[str, np.ndarray], timeout: float = 60.0
) -> str:
    """Says at which operator a run ends that failed, to go behind its message.

    Runs the file as far as each operator, of which it halves the number each time.

    Args:
        data: The bytes of the file.
        mode: What ran it, as `apart_process` calls it.
        inputs: What it was given, by the names of its signature.
        timeout: Seconds for each run.

    Returns:
        Such as " (at operator 31, SOFTMAX, of 'probabilities')"; nothing for a file
        without a signature, or one that runs now.
    """
    model = flatbuffer.read(data)
    if not model.signatureDefs:
        return ""
    graph = model.subgraphs[model.signatureDefs[0].subgraphIndex]
    operators = list(graph.operators)

    def fails(number: int) -> bool:
        graph.operators = operators[: number + 1]
        _return(model, graph, int(operators[number].outputs[0]))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.tflite")
            path.write_bytes(flatbuffer.pack(model))
            job = "run_rows", mode, str(path), [dict(inputs)]
            try:
                run_apart(*job, timeout=timeout, fresh=False)
            except RunError:
                return True
        return False

    number = bisect.bisect_left(range(len(operators)), True, key=fails)
    if number == len(operators):
        return ""
    op = operators[number]
    name = flatbuffer.text(graph.tensors[op.outputs[0]].name)
    return (
        f" (at operator {number}, {flatbuffer.operator_name(model, op)}, of '{name}')"
    )


def _return(model: schema.ModelT, graph: schema.SubGraphT, tensor: int) -> None:
    """Makes a tensor the only output of a model."""
    signature = model.signatureDefs[0]
    end = schema.TensorMapT()
    end.name, end.tensorIndex = b"output", tensor
    signature.outputs = [end]
    graph.outputs = np.array([tensor], np.int32)
