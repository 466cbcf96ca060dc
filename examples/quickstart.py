"""The main job, end to end, on real handwritten digits.

Searches which of six sites of a small convolutional network share their weights, for
accuracy and for size, takes the winner through quantization-aware training, exports it
as an int8 `.tflite` file, runs that file on the test set, and proves that the sharing
is still there. `report.html` shows what the search found.

    python examples/quickstart.py [--output quickstart_results] [--trials 12] [--seed 0]

Run again, it goes on with the search where it was interrupted. The digits are
scikit-learn's (1,797 images of 8 x 8 pixels), so nothing is downloaded.
"""

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_share as ks
from keras_share.search import SearchResults, SharingSearch, sharing_pattern

NUM_SITES = 6
BUDGET = 0.5  # the file may have this share of the unshared network's bytes
FILTERS = 48
BATCH_SIZE = 64

console = Console()


@dataclass(frozen=True)
class Split:
    """Images `(n, 8, 8, 1)` in [0, 1] and their digits."""

    x: np.ndarray
    y: np.ndarray


def load_data(seed: int) -> tuple[Split, Split, Split]:
    """Digits for training, validation and test (56, 19 and 25%)."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).reshape(-1, 8, 8, 1).astype("float32")
    rest = train_test_split(x, y, test_size=0.25, stratify=y, random_state=seed)
    x, x_test, y, y_test = rest
    x_train, x_val, y_train, y_val = train_test_split(
        x, y, test_size=0.25, stratify=y, random_state=seed
    )
    return Split(x_train, y_train), Split(x_val, y_val), Split(x_test, y_test)


def block() -> keras.Model:
    """What repeats: any Keras layer or model that keeps the shape of its input."""
    return keras.Sequential(
        [
            keras.layers.Conv2D(
                FILTERS, 3, padding="same", use_bias=False, name="conv"
            ),
            # A training this short has few steps for the moving statistics.
            keras.layers.BatchNormalization(momentum=0.8, name="norm"),
            keras.layers.ReLU(name="relu"),
        ],
        name="block",
    )


def build_model(pattern: ks.SharingPattern) -> keras.Model:
    """A convolution block at six sites, its convolution shared by a pattern."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(FILTERS, 3, padding="same", activation="relu", name="stem")(
        inputs
    )
    x = ks.SharedStack(block, pattern, name="stack")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10, name="head")(x))


def compile_model(
    model: keras.Model, train: Split, epochs: int, learning_rate: float = 2e-3
) -> keras.Model:
    """Compiles for a number of epochs, over which the learning rate falls to zero."""
    steps = epochs * -(-len(train.x) // BATCH_SIZE)
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(learning_rate, steps)
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,  # compiling takes longer than so short a training
    )
    return model


def fit(model: keras.Model, train: Split, epochs: int) -> keras.Model:
    """Trains a compiled model."""
    model.fit(train.x, train.y, epochs=epochs, batch_size=BATCH_SIZE, verbose=0)
    return model


def search(
    train: Split, val: Split, *, trials: int, epochs: int, seed: int, folder: Path
) -> SearchResults:
    """Seeks the front of accuracy and size among all patterns, with KerasTuner."""

    def build(hp):
        pattern = sharing_pattern(hp, NUM_SITES)
        return compile_model(build_model(pattern), train, epochs)

    tuner = SharingSearch(
        build,
        objective=["val_accuracy", "exported_bytes"],
        max_trials=trials,
        seed=seed + 1,  # 0 would be a random seed
        directory=folder,
        project_name=f"search_{epochs}_epochs_seed_{seed}",
    )
    tuner.search(
        train.x,
        train.y,
        validation_data=(val.x, val.y),
        epochs=epochs,
        batch_size=BATCH_SIZE,
    )
    return tuner.results


def pick(results: SearchResults, max_bytes: float) -> ks.SharingPattern:
    """The pattern of best validation accuracy within a number of bytes.

    Of equals the smaller file; if nothing is small enough, the smallest.
    """
    front = results.pareto_front()
    small = front[front.exported_bytes <= max_bytes]
    best = small.iloc[-1] if len(small) else front.iloc[0]
    return ks.SharingPattern.get(best.pattern)


def exported_bytes(model: keras.Model, folder: Path) -> int:
    """Size of a model's file, measured as the search does."""
    path = folder / "unshared_dynamic.tflite"
    return ks.export_tflite(model, path, quantization="dynamic").file_bytes


def file_row(name: str, path: Path, test: Split) -> dict[str, object]:
    """Runs a file on the test set and reads what it stores."""
    logits = ks.predict_tflite(path, test.x)
    report = ks.audit(path)
    return {
        "model": name,
        "test_accuracy": float(np.mean(logits.argmax(axis=1) == test.y)),
        "file_bytes": report.file_bytes,
        "weight_bytes": report.weight_bytes,
        "duplicates": report.duplicate_bytes,
    }


def show(table: pd.DataFrame) -> None:
    """Prints the closing table."""
    view = Table(title="By file, on the test set")
    for column in table.columns:
        title = column.replace("_", " ")
        view.add_column(title, justify="left" if column == "model" else "right")
    for row in table.itertuples(index=False):
        accuracy, *sizes = row[1:]
        view.add_row(row.model, f"{accuracy:.4f}", *(f"{size:,}" for size in sizes))
    console.print(view)


def run(
    folder: Path,
    *,
    trials: int = 12,
    search_epochs: int = 6,
    epochs: int = 12,
    seed: int = 0,
) -> pd.DataFrame:
    """Does the whole job; returns the closing table."""
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    train, val, test = load_data(seed)
    samples = train.x[:200]

    console.print(
        f"[bold]1. Search[/bold] which of {NUM_SITES} sites share, in {trials} trials"
    )
    results = search(
        train, val, trials=trials, epochs=search_epochs, seed=seed, folder=folder
    )
    results.to_csv(folder / "leaderboard.csv")
    unshared = ks.SharingPattern.unshared(NUM_SITES)
    max_bytes = BUDGET * exported_bytes(build_model(unshared), folder)
    ax = results.plot_pareto()
    ax.axvline(max_bytes / 1024, linestyle=":", color="gray", label="budget")
    ax.legend()
    ax.figure.savefig(folder / "pareto.png")
    columns = ["pattern", "num_groups", "parameters", "val_accuracy"]
    columns += ["exported_bytes", "seconds"]
    console.print(results.leaderboard()[columns].round(4).to_string(index=False))

    winner = pick(results, max_bytes)
    console.print(
        f"[bold]2. Train[/bold] {winner}, the best of at most "
        f"{max_bytes / 1024:.1f} KB, and the unshared network beside it"
    )
    models = {}
    for name, pattern in (("unshared", unshared), ("winner", winner)):
        keras.utils.set_random_seed(seed)
        model = compile_model(build_model(pattern), train, epochs)
        models[name] = fit(model, train, epochs)
        ks.export_tflite(model, folder / f"{name}_float.tflite")
    models["winner"].save(folder / "winner.keras")

    console.print("[bold]3. Quantize[/bold] with TFMOT, fine-tune, export")
    quantized = ks.quantize_model(models["winner"], representative_dataset=samples)
    tuning = max(1, epochs // 3)
    fit(compile_model(quantized, train, tuning, learning_rate=3e-4), train, tuning)
    report = ks.export_tflite(
        quantized, folder / "model.tflite", representative_dataset=samples
    )
    console.print(str(report), markup=False, highlight=False)
    ks.export_tflite(
        models["unshared"],
        folder / "unshared_int8.tflite",
        quantization="int8",
        representative_dataset=samples,
    )

    table = pd.DataFrame(
        [
            file_row("unshared, float", folder / "unshared_float.tflite", test),
            file_row(f"{winner}, float", folder / "winner_float.tflite", test),
            file_row("unshared, int8", folder / "unshared_int8.tflite", test),
            file_row(f"{winner}, int8", folder / "model.tflite", test),
        ]
    )
    table.to_csv(folder / "results.csv", index=False)
    show(table)
    results.to_html(folder / "report.html", winner=folder / "model.tflite")
    seconds = time.perf_counter() - started
    console.print(f"{seconds:.0f} seconds. Everything is in {folder.resolve()}")
    return table


def main() -> None:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("quickstart_results"))
    parser.add_argument("--trials", type=int, default=12, help="patterns to try")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    run(options.output, trials=options.trials, seed=options.seed)


if __name__ == "__main__":
    main()
