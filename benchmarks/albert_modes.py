"""Which parts of ALBERT should share? Every mode at the same width and steps.

    python benchmarks/albert_modes.py [--seeds 3] [--output benchmark_results/albert]

Pretrains the small encoder of `examples/albert.py` in each way of sharing and with
each seed, and compares them on held-out text: parameters, bytes of the exported
dynamic-range file, and the loss on masked words. A finished run is a line of
`runs.csv`, which is not run again; an unfinished one goes on where it was interrupted.
"""

import argparse
import gc
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import albert
import keras
from albert_parts import pretraining
from albert_parts.corpus import read_text
from albert_parts.modes import MODES
from albert_parts.settings import PRESETS, Settings, remember

import keras_share as ks
from keras_share.atomic import write_atomically

SETTINGS = replace(PRESETS["small"], steps=800)

console = Console()


def measure(settings: Settings, folder: Path) -> dict[str, float]:
    """Pretrains, evaluates and exports one encoder."""
    started = time.perf_counter()
    corpus = albert.prepare(settings, read_text(), folder)
    model = albert.pretrain(settings, corpus, folder)
    batch = pretraining.test_batch(corpus, settings.length)
    scores = pretraining.evaluate(model, batch)
    report = ks.export_tflite(model, folder / "dynamic.tflite", quantization="dynamic")
    seconds = time.perf_counter() - started
    parameters, stack = model.count_params(), model.get_layer("encoder")
    stack = stack.get_layer("stack").count_params()
    keras.utils.clear_session()
    gc.collect()
    return {
        "parameters": parameters,
        "stack_parameters": stack,
        "dynamic_bytes": report.file_bytes,
        "words_loss": scores["words_loss"],
        "words_accuracy": scores["words_accuracy"],
        "order_accuracy": scores["order_accuracy"],
        "seconds": seconds,
    }


def run_all(
    settings: Settings, modes: Sequence[str], seeds: int, folder: Path
) -> pd.DataFrame:
    """Runs what `runs.csv` in the folder lacks; returns all its lines."""
    folder.mkdir(parents=True, exist_ok=True)
    remember(settings, read_text(), folder)
    file = folder / "runs.csv"
    runs = pd.read_csv(file).to_dict("records") if file.exists() else []
    done = {(row["mode"], row["seed"]) for row in runs}
    # Seed by seed, so that the first lines already compare the modes.
    for seed in range(seeds):
        for mode in modes:
            if (mode, seed) in done:
                continue
            console.print(f"[bold]{mode}[/bold], seed {seed}")
            name = re.sub(r"\W+", "_", f"{mode}_{seed}")
            row = measure(replace(settings, mode=mode, seed=seed), folder / name)
            runs.append({"mode": mode, "seed": seed, **row})
            write_atomically(file, pd.DataFrame(runs).to_csv(index=False).encode())
    return pd.DataFrame(runs)


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """One line per mode: sizes, mean and spread of the loss, and what it costs.

    `over_dense` is the mean over the seeds of the loss above that of the dense encoder
    with the same seed.
    """
    dense = runs[runs["mode"] == "dense"].set_index("seed").words_loss
    runs = runs.assign(over_dense=runs.words_loss - runs.seed.map(dense))
    groups = runs.groupby("mode", sort=False)
    return groups.agg(
        parameters=("parameters", "first"),
        stack_parameters=("stack_parameters", "first"),
        dynamic_bytes=("dynamic_bytes", "mean"),
        words_loss=("words_loss", "mean"),
        spread=("words_loss", lambda x: x.max() - x.min()),
        over_dense=("over_dense", "mean"),
        words_accuracy=("words_accuracy", "mean"),
        seeds=("seed", "count"),
        seconds=("seconds", "mean"),
    ).reset_index()


def show(summary: pd.DataFrame) -> None:
    """Prints the table; `modes.csv` has the rest."""
    view = Table(title="Words of held-out text, by what is shared")
    view.add_column("mode", no_wrap=True)
    for title in ("parameters", "in stack", "dynamic bytes", "loss", "spread"):
        view.add_column(title, justify="right")
    view.add_column("over dense", justify="right")
    for row in summary.itertuples(index=False):
        view.add_row(
            row.mode,
            f"{row.parameters:,}",
            f"{row.stack_parameters:,}",
            f"{row.dynamic_bytes:,.0f}",
            f"{row.words_loss:.3f}",
            f"{row.spread:.3f}",
            "" if pd.isna(row.over_dense) else f"{row.over_dense:+.3f}",
        )
    console.print(view)


def main() -> None:
    """Runs all modes and seeds, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", type=Path, default=Path("benchmark_results/albert"))
    add("--seeds", type=int, default=3)
    add("--steps", type=int, default=SETTINGS.steps)
    add("--modes", nargs="+", default=MODES, help="of those: " + ", ".join(MODES))
    options = parser.parse_args()
    settings = replace(SETTINGS, steps=options.steps)
    runs = run_all(settings, options.modes, options.seeds, options.output)
    summary = summarize(runs)
    summary.to_csv(options.output / "modes.csv", index=False)
    show(summary)


if __name__ == "__main__":
    main()
