"""What rolling saves: files whose sites share one kernel, unrolled and rolled.

    python benchmarks/rolling.py                # 24 uses of a Dense layer
    python benchmarks/rolling.py --part albert  # KerasHub's ALBERT, base size

The sites of the Dense layer each add their input. ALBERT has random weights, 12 layers
that share one set, and sequences of 128 tokens; it is converted by the stock converter,
untouched by our layers. Compare the ratios: absolute figures differ from machine to
machine.
"""

import argparse
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd

import keras_share

SITES = 24
WIDTHS = (256, 512, 1024)


def dense_files(folder: Path) -> list[Path]:
    """Tied Dense layers of several widths in float32, dynamic range and int8."""
    files = []
    for width in WIDTHS:
        inputs = x = keras.Input((width,))
        dense = keras.layers.Dense(
            width,
            kernel_initializer=keras.initializers.RandomNormal(0, 0.1 / width**0.5),
        )
        for _ in range(SITES):
            x = keras.layers.Add()([x, dense(x)])
        model = keras.Model(inputs, x)
        samples = np.random.default_rng(0).normal(size=(32, width)).astype("float32")
        int8 = keras_share.quantize_model(model, samples, ranges="group")
        for name, source, scheme in (
            ("float32", model, "float32"),
            ("dynamic", model, "dynamic"),
            ("int8", int8, None),
        ):
            files.append(folder / f"dense_{width}_{name}.tflite")
            keras_share.export_tflite(
                source, files[-1], target="accelerator", quantization=scheme
            )
    return files


def albert_files(folder: Path) -> list[Path]:
    """ALBERT as the stock converter writes it, in float32 and dynamic range."""
    import keras_hub
    import tensorflow as tf

    backbone = keras_hub.models.AlbertBackbone(
        vocabulary_size=30_000,
        num_layers=12,
        num_heads=12,
        embedding_dim=128,
        hidden_dim=768,
        intermediate_dim=3072,
        max_sequence_length=128,
    )
    inputs = [
        keras.Input((128,), batch_size=1, dtype="int32", name=name)
        for name in backbone.input
    ]
    outputs = backbone(dict(zip(backbone.input, inputs, strict=True)))
    model = keras.Model(inputs, list(outputs.values()))
    files = []
    for name, optimizations in (
        ("float32", []),
        ("dynamic", [tf.lite.Optimize.DEFAULT]),
    ):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = optimizations
        files.append(folder / f"albert_{name}.tflite")
        files[-1].write_bytes(converter.convert())
    return files


def measure(files: list[Path], modes: list[str], rounds: int) -> pd.DataFrame:
    """A row per file and mode: the figures unrolled and rolled, and their ratios."""
    rows = []
    for file in files:
        rolled = file.with_name(f"{file.stem}_rolled.tflite")
        print(f"{file.stem}: {keras_share.roll(file, rolled)}", flush=True)
        report = keras_share.benchmark(file, rolled, modes=modes, rounds=rounds)
        for mode in modes:
            before, after = (row for row in report.rows if row.mode == mode)
            rows.append(
                {
                    "file": file.stem,
                    "mode": mode,
                    "ms": before.median_ms,
                    "rolled ms": after.median_ms,
                    "latency ratio": after.median_ms / before.median_ms,
                    "MB": before.grown_mb,
                    "rolled MB": after.grown_mb,
                    "memory ratio": after.grown_mb / before.grown_mb,
                    "load and first run ratio": (after.load_ms + after.first_ms)
                    / (before.load_ms + before.first_ms),
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    """Measures what is asked for and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["dense", "albert"], default="dense")
    parser.add_argument("--mode", action="append", help="as of keras_share.benchmark")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as name:
        files = {"dense": dense_files, "albert": albert_files}[arguments.part]
        modes = arguments.mode or ["interpreter"]
        table = measure(files(Path(name)), modes, arguments.rounds)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
