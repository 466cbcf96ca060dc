"""How much accuracy quantization costs, of files run in LiteRT."""

import contextlib
import io
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

import keras_share as ks
from quantization_parts.cases import Case, Training
from quantization_parts.data import Data
from quantization_parts.subprocesses import run_legacy

OURS = "ours, float"
CALIBRATED = "ours, calibrated"
TUNED = "ours, QAT"
CONVERTER = "converter's PTQ"
TFMOT_FLOAT = "untied, float"
TFMOT = "TFMOT, QAT"


def measure(
    case: Case, data: Data, seed: int, folder: Path, console: Console
) -> list[dict[str, Any]]:
    """Trains and quantizes one network in every way; returns a row for each."""
    folder.mkdir(parents=True, exist_ok=True)
    training = case.training
    keras.utils.set_random_seed(seed)
    model = case.build(data.x.shape[1:])
    fit(model, data, training.epochs, training.rate, training)
    score = _Scores(model.predict(data.x_test, verbose=0), data.y_test)
    rows = [{"method": OURS, "accuracy": score.accuracy}]
    quantized = ks.quantize_model(model, representative_dataset=data.samples)
    path = folder / "calibrated.tflite"
    ks.export_tflite(quantized, path, representative_dataset=data.samples)
    rows.append({"method": CALIBRATED, **score.of_file(path, data.x_test)})
    fit(quantized, data, training.tuning_epochs, training.tuning_rate, training)
    path = folder / "tuned.tflite"
    ks.export_tflite(quantized, path, representative_dataset=data.samples)
    rows.append({"method": TUNED, **score.of_file(path, data.x_test)})

    path = folder / "converter.tflite"
    convert(model, data.samples, path)
    rows.append({"method": CONVERTER, **score.of_file(path, data.x_test)})
    rows += legacy_rows(case, data, seed, folder)
    for row in rows:
        console.print(f"  {row['method']}: {row.get('accuracy', math.nan):.4f}")
    named = {"data": case.data, "network": case.network, "seed": seed}
    return [{**named, **row} for row in rows]


def fit(
    model: keras.Model, data: Data, epochs: int, rate: float, training: Training
) -> None:
    """Compiles and trains; the learning rate falls to zero."""
    batch = training.batch_size
    schedule = keras.optimizers.schedules.CosineDecay(
        rate, epochs * -(-len(data.x) // batch)
    )
    model.compile(
        keras.optimizers.Adam(schedule),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,  # compiling takes longer than so short a training
    )
    model.fit(data.x, data.y, epochs=epochs, batch_size=batch, verbose=0)


def convert(model: keras.Model, samples: np.ndarray, path: Path) -> None:
    """The converter's own quantization after training, as its guide has it."""
    import tensorflow as tf

    # Of a free batch size it leaves Dense layers over sequences in floating point.
    inputs = keras.Input(batch_shape=(1, *model.input_shape[1:]))
    fixed = keras.Model(inputs, model(inputs, training=False))
    converter = tf.lite.TFLiteConverter.from_keras_model(fixed)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in samples)
    with contextlib.redirect_stdout(io.StringIO()):
        path.write_bytes(converter.convert())


def legacy_rows(
    case: Case, data: Data, seed: int, folder: Path
) -> list[dict[str, Any]]:
    """The rows of TFMOT's own `quantize_model`."""
    data.save(folder / "data.npz")
    found = run_legacy(
        {
            "part": "accuracy",
            "data": str(folder / "data.npz"),
            "folder": str(folder),
            "seed": seed,
            "untied": case.untied,
            "shape": case.shape,
            "settings": case.settings,
            "training": asdict(case.training),
        }
    )
    (folder / "data.npz").unlink()
    if "refused" in found:
        return [{"method": TFMOT, "remark": f"refused: {found['refused']}"}]
    score = _Scores(np.load(folder / "legacy_float.npy"), data.y_test)
    x_test = data.x_test.reshape(len(data.x_test), *case.shape)
    return [
        {"method": TFMOT_FLOAT, "accuracy": score.accuracy},
        {"method": TFMOT, **score.of_file(folder / "tfmot.tflite", x_test)},
    ]


class _Scores:
    """Compares files with the float network that they come from."""

    def __init__(self, logits: np.ndarray, labels: np.ndarray):
        self.said = logits.argmax(axis=1)
        self.labels = labels
        self.accuracy = float(np.mean(self.said == labels))

    def of_file(self, path: Path, x: np.ndarray) -> dict[str, Any]:
        said = ks.predict_tflite(path, x).argmax(axis=1)
        accuracy = float(np.mean(said == self.labels))
        report = ks.audit(path)
        return {
            "accuracy": accuracy,
            "drop_points": 100 * (self.accuracy - accuracy),
            "agreement": float(np.mean(said == self.said)),
            "file_bytes": report.file_bytes,
            "duplicate_bytes": report.duplicate_bytes,
        }


def summarize(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds, and the drop of each seed."""
    groups = rows.groupby(["data", "network", "method"], sort=False)
    return groups.agg(
        accuracy=("accuracy", "mean"),
        drop_points=("drop_points", "mean"),
        drops=("drop_points", lambda x: " ".join(f"{v:+.2f}" for v in x.dropna())),
        agreement=("agreement", "mean"),
        file_bytes=("file_bytes", "mean"),
        duplicate_bytes=("duplicate_bytes", "mean"),
        remark=("remark", "first"),
    ).reset_index()


def show(summary: pd.DataFrame, console: Console) -> None:
    """Prints the table."""
    view = Table(
        title="Accuracy of the files, and points below their float networks",
        caption="Asked of ours: a mean drop of at most 0.3 after QAT and of at most "
        "1.0 with calibration only. One image of the digits is 0.22.",
    )
    for title in ("network", "method"):
        view.add_column(title, no_wrap=True)
    for title in ("accuracy", "drop", "of each seed", "agrees", "bytes", "duplicate"):
        view.add_column(title, justify="right")
    before = None
    for row in summary.itertuples(index=False):
        name = f"{row.data}, {row.network}"
        if before not in (None, name):
            view.add_section()
        shown = "" if before == name else name
        before = name
        if isinstance(row.remark, str):
            view.add_row(shown, row.method, "refused")
            continue
        numbers = (
            (row.accuracy, ".4f"),
            (row.drop_points, "+.2f"),
            (row.drops, ""),
            (row.agreement, ".4f"),
            (row.file_bytes, ",.0f"),
            (row.duplicate_bytes, ",.0f"),
        )
        cells = ("" if pd.isna(v) else format(v, form) for v, form in numbers)
        view.add_row(shown, row.method, *cells)
    console.print(view)
    remarks = summary.dropna(subset=["remark"])
    for row in remarks.itertuples(index=False):
        text = f"{row.data}, {row.network}, {row.method} {row.remark}"
        console.print(text, markup=False, highlight=False)
