"""How long it takes until something happens: imports, and tools on files.

    python benchmarks/startup.py

Each command runs in a fresh process, several times, and the fastest run counts: wall
seconds are those of an idle machine only, CPU seconds those of any.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema

WIDTH, LAYERS = 512, 50  # 52 MB in float32
LIMITS = {"--help": 0.4, "audit": 2.0, "roll": 3.0}  # seconds on two idle cores


def dense_file(path: Path) -> None:
    """Writes a chain of products, of which no two have one kernel: nothing to roll."""
    rng = np.random.default_rng(0)
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.deprecatedBuiltinCode, code.version = code.builtinCode, 1
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [_tensor("x", 1)], []
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT()]
    for i in range(LAYERS):
        kernel = rng.normal(size=(WIDTH, WIDTH)).astype("float32") / WIDTH**0.5
        model.buffers.append(schema.BufferT(np.frombuffer(kernel, np.uint8)))
        graph.tensors += [_tensor(f"kernel_{i}", WIDTH, i + 1), _tensor(f"y_{i}", 1)]
        op = schema.OperatorT()
        op.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        op.builtinOptions = schema.FullyConnectedOptionsT()
        op.inputs, op.outputs = [2 * i, 2 * i + 1, -1], [2 * i + 2]
        graph.operators.append(op)
    graph.inputs, graph.outputs = [0], [2 * LAYERS]
    path.write_bytes(flatbuffer.pack(model))


def _tensor(name: str, rows: int, buffer: int = 0) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.buffer = name.encode(), buffer
    tensor.shape = np.array([rows, WIDTH], np.int32)
    return tensor


def fastest(command: list[str], runs: int) -> tuple[float, float]:
    """Wall and CPU seconds of a command, of each the least of several runs."""
    times = []
    for _ in range(runs):
        before, start = os.times(), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, after = time.perf_counter() - start, os.times()
        cpu = sum(after[2:4]) - sum(before[2:4])
        times.append((wall, cpu))
    return tuple(map(min, zip(*times, strict=True)))


def measure(runs: int) -> pd.DataFrame:
    """A row for each command with its seconds."""
    shell = [sys.executable, "-m", "keras_share"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.tflite")
        dense_file(path)
        rolled = str(path.with_name("rolled.tflite"))
        commands = {
            "python": [sys.executable, "-c", ""],
            "import keras_share": [sys.executable, "-c", "import keras_share"],
            "--help": [*shell, "--help"],
            "audit": [*shell, "audit", str(path)],
            "roll": [*shell, "roll", str(path), "-o", rolled],
        }
        rows = [(name, *fastest(line, runs)) for name, line in commands.items()]
    frame = pd.DataFrame(rows, columns=["command", "wall_s", "cpu_s"])
    return frame.assign(limit_s=frame["command"].map(LIMITS))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    print(measure(parser.parse_args().runs).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
