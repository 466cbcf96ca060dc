"""What the way to a file takes, against that of Keras's own export.

    python benchmarks/export_speed.py [--rounds 3] [--only gru] [--samples 100]

Dynamic range and full int8 of the same model by `model.export(format="litert")` and by
`quantize_model` and `export_tflite`, which also compare each file with the model and
audit it; and what a trial of a search takes to know the size of its file. The ways go
in turns, and of each the fastest round counts. CPU seconds, of this process and of
those that it started, are the fairer figure where other work runs beside.
"""

import argparse
import contextlib
import importlib.util
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras
import numpy as np
from keras import layers
from rich.console import Console
from rich.table import Table

import keras_share
from keras_share.search.trial.measures import measure_file

WIDTH, LENGTH, WORDS, STEPS = 16, 32, 100, 64
# Seconds of a trial on two idle cores; the others are ratios to Keras's own export.
LIMITS = {"dynamic": 1.3, "int8": 3.0, "trial": 2.0}

Way = Callable[[Path], object]


def bert(num_layers: int) -> keras.Model:
    """An encoder such as KerasHub's `BertBackbone`, tiny."""
    given = keras.Input((LENGTH,), dtype="int32", name="token_ids")
    places = np.arange(LENGTH)
    x = layers.Embedding(WORDS, WIDTH)(given) + layers.Embedding(LENGTH, WIDTH)(places)
    x = layers.LayerNormalization()(x)
    for _ in range(num_layers):
        attended = layers.MultiHeadAttention(2, WIDTH // 2)(x, x)
        x = layers.LayerNormalization()(x + layers.Dropout(0.1)(attended))
        y = layers.Dense(WIDTH)(layers.Dense(4 * WIDTH, activation="gelu")(x))
        x = layers.LayerNormalization()(x + layers.Dropout(0.1)(y))
    pooled = layers.Dense(WIDTH, activation="tanh")(x[:, 0])
    return keras.Model(given, layers.Dense(2)(pooled), name="bert")


def mobile_net() -> keras.Model:
    """MobileNetV2 at a quarter of its width."""
    return keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None)


def gru(unroll: bool = False) -> keras.Model:
    """A GRU that returns its last output."""
    given = keras.Input((STEPS, WIDTH))
    x = layers.GRU(WIDTH, unroll=unroll)(given)
    return keras.Model(given, layers.Dense(4)(x), name="gru")


def quickstart() -> keras.Model:
    """The network of `examples/quickstart.py`."""
    path = Path(__file__).parents[1] / "examples" / "quickstart.py"
    spec = importlib.util.spec_from_file_location("quickstart", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build_model()


MODELS: dict[str, Callable[[], keras.Model]] = {
    "quickstart": quickstart,
    "bert, 4 layers": lambda: bert(4),
    "bert, 12 layers": lambda: bert(12),
    "mobilenet_v2": mobile_net,
    "gru, 64 steps": gru,
}


def stock(model: keras.Model, **options: object) -> Way:
    """Keras's own export; of batch size 1, as ours."""
    import tensorflow as tf

    [given] = model.inputs
    signature = [keras.InputSpec(given.dtype, (1, *given.shape[1:]))]
    options |= {"optimizations": [tf.lite.Optimize.DEFAULT], "verbose": False}
    return lambda path: model.export(
        path, format="litert", input_signature=signature, **options
    )


def ways(model: keras.Model, samples: int) -> dict[str, list[Way]]:
    """For each form of file how Keras writes it, and how we do."""
    rng, [given] = np.random.default_rng(0), model.inputs
    shape = (samples, *given.shape[1:])
    is_text = "int" in given.dtype
    x = rng.integers(0, WORDS, shape) if is_text else rng.normal(size=shape)
    x = x.astype(given.dtype)
    if model.name == "digits":
        export = {"quantization": "int8", "representative_dataset": x}
        return {"trial": [lambda path: measure_file(model, export)]}

    def int8(path: Path) -> object:
        quantized = keras_share.quantize_model(model, x)
        return keras_share.export_tflite(quantized, path, representative_dataset=x)

    def dynamic(path: Path) -> object:
        return keras_share.export_tflite(model, path, quantization="dynamic")

    # TensorFlow's calibrator crashes on loops.
    plain = gru(unroll=True) if model.name == "gru" else model
    calibrated = stock(plain, representative_dataset=lambda: ([row[None]] for row in x))
    return {"dynamic": [stock(model), dynamic], "int8": [calibrated, int8]}


def cpu_seconds() -> float:
    """Those of this process and of its children, the living ones included."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # of a process that has just ended
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                ticks += sum(map(int, fields[11:15]))
    return sum(os.times()[:4]) + ticks / os.sysconf("SC_CLK_TCK")


def seconds(way: Way) -> tuple[float, float]:
    """Wall and CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        before, start = cpu_seconds(), time.perf_counter()
        way(Path(folder, "model.tflite"))
        return time.perf_counter() - start, cpu_seconds() - before


def main() -> None:
    """Prints a row for each model and form of file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--only", default="", help="models with this in their names")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    table = Table("model", "file", title="Seconds to a file: Keras / ours")
    for name in ("wall", "ratio", "CPU", "CPU ratio", "asked, at most"):
        table.add_column(name, justify="right")
    for name in (x for x in MODELS if options.only in x):
        keras.utils.set_random_seed(0)
        for form, pair in ways(MODELS[name](), options.samples).items():
            taken = [[seconds(way) for way in pair] for _ in range(options.rounds)]
            cells = []
            for *theirs, ours in np.min(taken, axis=0).T:
                cells.append(" / ".join(f"{x:.1f}" for x in (*theirs, ours)))
                cells.append(f"{ours / theirs[0]:.2f}" if theirs else "")
            limit = LIMITS[form]
            table.add_row(name, form, *cells, f"{limit:g}" + " s" * (form == "trial"))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
