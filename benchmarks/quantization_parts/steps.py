"""What a training step with quantization costs, as a ratio to the float step."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

import keras_share as ks
from quantization_parts import untied
from quantization_parts.subprocesses import run_legacy
from quantization_parts.timing import median, ratio, seconds_per_step

BATCH = 32
# What Keras calls these: "auto" compiles with XLA wherever it can.
JITS = {"off": False, "auto": "auto"}
IMAGE, SEQUENCE = (16, 16, 8), (32, 64)
BOTH = {"plain": {"width": 32}, "separable": {"width": 48, "num_sites": 6}}


def transformer() -> keras.Model:
    """Four transformer blocks that share everything but their normalization."""
    inputs = keras.Input(SEQUENCE)
    block = ks.blocks.TransformerBlock(4, 4 * SEQUENCE[1], activation="relu")
    x = ks.SharedStack(block, "AAAA")(inputs)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x))


def measure(
    build: Callable[[], keras.Model], jit: bool | str, rounds: int
) -> list[list[float]]:
    """Seconds of steps of a network and of its quantized form."""
    model = build()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, *model.input_shape[1:])).astype("float32")
    y = rng.normal(size=(BATCH, 10)).astype("float32")
    models = [model, ks.quantize_model(model, representative_dataset=x)]
    for each in models:
        each.compile("adam", "mse", jit_compile=jit)
    pairs = seconds_per_step(models, x, y, rounds)
    keras.utils.clear_session()
    return pairs


def measure_all(rounds: int, jit: str | None, console: Console) -> pd.DataFrame:
    """Measures all networks; returns a row for each."""
    rows = []

    def add(network: str, whose: str, jit: str, pairs: list[list[float]]) -> None:
        row = {
            "network": network,
            "quantized by": whose,
            "jit_compile": jit,
            "float_ms": 1e3 * median(pairs, 0),
            "quantized_ms": 1e3 * median(pairs, 1),
            "ratio": ratio(pairs),
        }
        console.print(f"  {network}, {whose}, jit {jit}: {row['ratio']:.2f}")
        rows.append(row)

    for name, kwargs in BOTH.items():
        task = {"part": "step", "untied": name, "shape": IMAGE, "settings": kwargs}
        task |= {"batch": BATCH, "rounds": rounds, "jit": None}  # tf_keras: no XLA
        add(name, "TFMOT", "off", run_legacy(task)["seconds"])
    networks: dict[str, Any] = {
        name: lambda name=name, kwargs=kwargs: getattr(untied, name)(
            keras, IMAGE, **kwargs
        )
        for name, kwargs in BOTH.items()
    }
    networks["transformer"] = transformer
    for name, build in networks.items():
        for choice in JITS if jit is None else (jit,):
            add(name, "ours", choice, measure(build, JITS[choice], rounds))
    return pd.DataFrame(rows).sort_values("network", kind="stable")


def show(table: pd.DataFrame, console: Console) -> None:
    """Prints the table."""
    view = Table(title="Training step with quantization, over the float step")
    for column in table.columns:
        text = column in ("network", "quantized by", "jit_compile")
        view.add_column(column, justify="left" if text else "right")
    for row in table.itertuples(index=False):
        *names, first, second, over = row
        view.add_row(*names, f"{first:.1f}", f"{second:.1f}", f"{over:.2f}")
    console.print(view)
