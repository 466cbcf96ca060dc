"""Image classification on a phone, made smaller and faster by sharing.

Trains four networks on the same images: one that shares nothing, one whose blocks all
share their weights, one whose blocks share but for a few numbers each, and a narrow one
that shares nothing and has as many weights as those. Exports each in float32, dynamic
range and int8, rolled (shared blocks are one subgraph that is called) and not, runs the
files on the test images, and measures their latency and memory.

    python examples/mobile_vision.py                     scikit-learn's digits
    python examples/mobile_vision.py --data cifar10 --epochs 30
    python examples/mobile_vision.py --data my_images    folder of class/*.jpg
    python examples/mobile_vision.py --quick             a tiny run, to see it work
"""

import argparse
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras
import pandas as pd
from mobile_parts.exported import PRECISIONS, export_files
from mobile_parts.images import DATASETS, Split, load_images
from mobile_parts.network import build_networks
from mobile_parts.picture import draw
from mobile_parts.table import ratios, show, show_ratios
from mobile_parts.training import train
from rich.console import Console
from rich.progress import Progress

from keras_share import benchmark

CALIBRATION_SAMPLES = 100

console = Console()


@dataclass(frozen=True)
class Settings:
    """What a run depends on beside its images.

    Args:
        image_size: Height and width in pixels, of which the blocks see a 16th.
        width: Channels of the blocks. Sharing saves most time where the weights of one
            block fit into a core's cache, and those of all blocks don't.
        num_sites: Number of blocks.
        precisions: What the networks are exported in.
        epochs: Epochs of training each network.
        learning_rate: The highest one.
        batch_size: Images per step.
        rounds: How often the benchmark goes through all files.
        max_images: The most images to train on, to choose by and to test on, each.
        seed: Seed of the split, the weights and the batches.
    """

    image_size: int = 32
    width: int = 224
    num_sites: int = 12
    precisions: Sequence[str] = PRECISIONS
    epochs: int = 6
    learning_rate: float = 1e-3
    batch_size: int = 32
    rounds: int = 3
    max_images: int = 100_000
    seed: int = 0


QUICK = Settings(
    width=16,
    num_sites=3,
    precisions=("dynamic", "int8"),
    epochs=1,
    batch_size=64,
    rounds=1,
    max_images=128,
)


def train_and_export(split: Split, settings: Settings, folder: Path) -> pd.DataFrame:
    """A row for each file of each network."""
    samples = split.train.some(CALIBRATION_SAMPLES).x
    networks = build_networks(
        split.train.x.shape[1:],
        len(split.classes),
        settings.width,
        settings.num_sites,
    )
    tables = []
    for name, network in networks.items():
        keras.utils.set_random_seed(settings.seed)
        train(
            network,
            split,
            settings.epochs,
            settings.learning_rate,
            settings.batch_size,
            title=name,
            console=console,
        )
        network.save(folder / f"{name}.keras")
        with console.status(f"{name}: exporting"):
            rows = export_files(
                name, network, settings.precisions, samples, split.test, folder
            )
        tables.append(rows)
    return pd.concat(tables, ignore_index=True)


def measure(files: pd.Series, folder: Path, rounds: int) -> pd.DataFrame:
    """What each file costs, by its name: one image at a time, in one thread."""
    with Progress(console=console) as progress:
        task = progress.add_task("benchmark")
        costs = benchmark(
            {file: folder / file for file in files},
            rounds=rounds,
            progress=lambda done, total, _: progress.update(
                task, completed=done, total=total
            ),
        )
    return costs.to_dataframe().drop(columns=["mode", "difference"])


def run(
    folder: Path, source: str = "digits", settings: Settings = Settings()
) -> pd.DataFrame:
    """Does the whole job; returns the table of files."""
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(settings.seed)
    # TensorFlow warns of tracing a function again for each of several networks.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)

    split = load_images(source, settings.image_size, settings.seed)
    split = split.some(settings.max_images)
    console.print(
        f"[bold]1. Images[/bold] of {len(split.classes)} classes: {len(split.train):,} "
        f"to train on, {len(split.validation):,} to choose the best epoch by, "
        f"{len(split.test):,} to test on"
    )
    console.print(
        f"[bold]2. Train and export[/bold] four networks of {settings.num_sites} blocks"
    )
    files = train_and_export(split, settings, folder)
    console.print(f"[bold]3. Benchmark[/bold] of {len(files)} files")
    table = files.merge(measure(files.file, folder, settings.rounds), on="file")
    table.to_csv(folder / "results.csv", index=False)
    draw(table, len(split.test), folder / "mobile.png")
    show(table, console)
    show_ratios(ratios(table), console)
    seconds = time.perf_counter() - started
    console.print(
        f"{seconds:.0f} seconds. Everything is in {folder.resolve()}; mobile.png shows "
        "accuracy against latency, memory and size."
    )
    return table


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = options.add_argument
    add("--data", default="digits", help=f"{', '.join(DATASETS)}, or a folder")
    add("--output", type=Path, default=Path("mobile_results"))
    add("--quick", action="store_true", help="tiny networks and few images")
    given = {"default": argparse.SUPPRESS, "type": int}
    add("--image-size", **given, help=f"in pixels (default: {Settings.image_size})")
    add("--width", **given, help=f"channels of a block (default: {Settings.width})")
    add("--num-sites", **given, help=f"blocks (default: {Settings.num_sites})")
    add("--epochs", **given, help=f"of each network (default: {Settings.epochs})")
    add(
        "--precisions",
        nargs="+",
        choices=PRECISIONS,
        default=argparse.SUPPRESS,
        help=f"of the files (default: {' '.join(PRECISIONS)})",
    )
    add("--seed", **given, help=f"(default: {Settings.seed})")
    return options


def main() -> None:
    """Reads the command line and runs."""
    options = vars(parser().parse_args())
    folder, source, quick = (options.pop(name) for name in ("output", "data", "quick"))
    run(folder, source, replace(QUICK if quick else Settings(), **options))


if __name__ == "__main__":
    main()
