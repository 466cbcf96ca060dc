"""Keyword spotting, from recordings to a microcontroller.

Turns recordings into the features that firmware computes, searches which blocks of a
small network share their weights, trains the winner with quantization in mind, exports
it as a full int8 `.tflite` file, runs that file in TensorFlow Lite Micro, and writes it
as a C array for firmware. The accuracy is that on speakers who were never trained on.

    python examples/keyword_spotting.py                          tones, no download
    python examples/keyword_spotting.py --data spoken-digits
    python examples/keyword_spotting.py --data speech-commands --words yes no stop go
    python examples/keyword_spotting.py --data my_recordings     folder of word/*.wav

Run again, it goes on with the search where it was interrupted.
"""

import argparse
import hashlib
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras
import numpy as np
import pandas as pd
from keyword_parts import on_device
from keyword_parts.augmentation import (
    Augmentation,
    disguised_features,
    in_a_room,
)
from keyword_parts.batches import Batches
from keyword_parts.datasets import DATASETS, load_data
from keyword_parts.frontend import features_of, with_all_levels
from keyword_parts.network import BLOCKS, build_network
from keyword_parts.split import Split
from keyword_parts.table import show
from keyword_parts.training import compile_network, train
from rich.console import Console

import keras_share as ks
from keras_share.search import SearchResults, SharingSearch, sharing_pattern

FAMILIES = ["shared", "sandwich", "sequence", "cycle", "cycle_rev"]
MICRO_SAMPLES = 50  # of the test set that TensorFlow Lite Micro runs
CALIBRATION_SAMPLES = 200

console = Console()


@dataclass(frozen=True)
class Settings:
    """What a run depends on beside its recordings.

    Args:
        block: What repeats, one of `keyword_parts.network.BLOCKS`.
        num_sites: How often it is applied.
        width: Channels of the blocks.
        trials: Patterns that the search tries.
        search_epochs: Epochs of a trial.
        epochs: Epochs of training the winner and its rivals.
        tuning_epochs: Epochs of training them with quantization.
        disguises: Versions of each recording that are trained on.
        batch_size: Recordings per step.
        seed: Seed of the split, the weights and the batches.
    """

    block: str = "separable"
    num_sites: int = 6
    width: int = 64
    trials: int = 6
    search_epochs: int = 6
    epochs: int = 25
    tuning_epochs: int = 4
    disguises: int = 8
    batch_size: int = 32
    seed: int = 0

    @property
    def learning_rate(self) -> float:
        """Highest learning rate, which attention wants lower."""
        return 3e-3 if self.block == "separable" else 1e-3


@dataclass(frozen=True)
class Features:
    """Features of each part of a split, and their labels.

    Args:
        train: In several disguises, in batches.
        clean: Those of the training set as they are.
        validation: Features and labels.
        test: Features and labels.
        num_words: Number of labels.
    """

    train: Batches
    clean: np.ndarray
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    num_words: int

    def build(self, settings: Settings, pattern: ks.SharingPattern) -> keras.Model:
        """A network for them."""
        return build_network(
            self.clean.shape[1:],
            self.num_words,
            pattern,
            kind=settings.block,
            width=settings.width,
        )


def prepare(split: Split, settings: Settings) -> Features:
    """The features of all recordings."""
    rng = np.random.default_rng(settings.seed)

    def listen(x):
        return features_of(in_a_room(x, rng), split.train.sample_rate)

    clean, validation, test = (
        listen(part.x) for part in (split.train, split.validation, split.test)
    )
    augmentation = Augmentation()
    disguised = disguised_features(
        split.train.x, listen, augmentation, settings.disguises, settings.seed
    )
    batches = Batches(
        disguised, split.train.labels, augmentation, settings.batch_size, settings.seed
    )
    return Features(
        batches,
        clean,
        (validation, split.validation.labels),
        (test, split.test.labels),
        len(split.train.words),
    )


def search_name(split: Split, settings: Settings) -> str:
    """A name for each search: one goes on only with what it began with."""
    begun = replace(settings, trials=0, epochs=0, tuning_epochs=0)
    digest = hashlib.sha256(repr(begun).encode())
    digest.update(split.train.waveforms)
    digest.update(split.validation.waveforms)
    return f"search_{digest.hexdigest()[:8]}"


def search(
    features: Features, settings: Settings, folder: Path, name: str
) -> SearchResults:
    """Tries sharing patterns with KerasTuner, or goes on with the search `name`."""

    def build(hp):
        pattern = sharing_pattern(
            hp,
            settings.num_sites,
            families=FAMILIES,
            max_groups=settings.num_sites // 2,
        )
        return compile_network(
            features.build(settings, pattern),
            features.train,
            settings.search_epochs,
            settings.learning_rate,
        )

    tuner = SharingSearch(
        build,
        objective="val_accuracy",
        max_trials=settings.trials,
        seed=settings.seed + 1,  # 0 would be a random seed
        directory=folder,
        project_name=name,
    )
    tuner.search(
        features.train,
        validation_data=features.validation,
        epochs=settings.search_epochs,
    )
    return tuner.results


def train_and_export(
    name: str,
    pattern: ks.SharingPattern,
    features: Features,
    settings: Settings,
    folder: Path,
) -> dict[str, object]:
    """Trains a network, then with quantization; returns its row of the table."""
    keras.utils.set_random_seed(settings.seed)
    network = train(
        features.build(settings, pattern),
        features.train,
        settings.epochs,
        settings.learning_rate,
        title=f"{name}: train",
        console=console,
    )
    network.save(folder / f"{name}.keras")
    every = max(1, len(features.clean) // CALIBRATION_SAMPLES)
    samples = with_all_levels(features.clean[::every])
    quantized = ks.quantize_model(network, representative_dataset=samples)
    quantized.get_layer("features_range").trainable = False  # that of the front end
    quantized = train(
        quantized,
        features.train,
        settings.tuning_epochs,
        settings.learning_rate / 10,
        title=f"{name}: quantize",
        console=console,
    )
    path = folder / f"{name}.tflite"
    report = ks.export_tflite(
        quantized,
        path,
        target="micro",
        representative_dataset=samples,
        inference_input_type="int8",
        inference_output_type="int8",
    )
    x, y = features.test
    micro = on_device.in_micro(path, x[:: max(1, len(x) // MICRO_SAMPLES)])
    on_device.export_firmware(path, micro)
    logits = network.predict(x, verbose=0)
    return {
        "network": f"{name} {pattern}",
        "parameters": network.count_params(),
        "float_accuracy": float(np.mean(logits.argmax(axis=1) == y)),
        "int8_accuracy": on_device.accuracy(path, x, y),
        "file_bytes": report.file_bytes,
        "duplicate_bytes": report.duplicate_bytes,
        "arena_bytes": micro and micro.arena_bytes,
        "micro_agreement": micro and micro.agreement,
        "micro_steps_apart": micro and micro.steps_apart,
    }


def run(
    folder: Path,
    source: str = "tones",
    words: Sequence[str] | None = None,
    settings: Settings = Settings(),
) -> pd.DataFrame:
    """Does the whole job; returns the closing table."""
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(settings.seed)
    # TensorFlow warns of tracing a function again for each of several networks.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)

    data = load_data(source, words=words, seed=settings.seed)
    split = data.split
    sizes = [len(part) for part in (split.train, split.validation, split.test)]
    console.print(
        f"[bold]1. Recordings[/bold] of {len(split.train.words)} words: "
        "{:,} to train on, {:,} to choose by, {:,} to test on".format(*sizes)
    )
    console.print(f"   split {data.remark}")
    features = prepare(split, settings)

    console.print(
        f"[bold]2. Search[/bold] which of {settings.num_sites} {settings.block} blocks "
        f"share, in {settings.trials} trials"
    )
    results = search(features, settings, folder, search_name(split, settings))
    results.to_csv(folder / "leaderboard.csv")
    winner = ks.SharingPattern.get(results.leaderboard().iloc[0].pattern)

    console.print(
        f"[bold]3. Train and quantize[/bold] {winner}, and beside it the network that "
        "shares nothing and a single block"
    )
    rivals = {
        "unshared": ks.SharingPattern.unshared(settings.num_sites),
        "single": ks.SharingPattern.unshared(1),
        "winner": winner,
    }
    table = pd.DataFrame(
        [
            train_and_export(name, pattern, features, settings, folder)
            for name, pattern in rivals.items()
        ]
    )
    table.to_csv(folder / "results.csv", index=False)
    console.print(
        str(ks.audit(folder / "winner.tflite")), markup=False, highlight=False
    )
    show(table, console)
    if table.arena_bytes.isna().any():
        console.print("The arena is measured after: pip install tflite-micro")
    seconds = time.perf_counter() - started
    console.print(
        f"{seconds:.0f} seconds. Everything is in {folder.resolve()}; winner.cc and "
        "winner.h go into the firmware."
    )
    return table


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = options.add_argument
    add("--data", default="tones", help=f"{', '.join(DATASETS)}, a folder or an .npz")
    add("--words", nargs="+", help="the words to tell apart, of a data set of many")
    add("--output", type=Path, default=Path("keyword_results"))
    add("--block", choices=BLOCKS, default="separable", help="what repeats")
    add("--width", type=int, default=Settings.width, help="channels of the blocks")
    add("--trials", type=int, default=Settings.trials, help="patterns to try")
    add("--epochs", type=int, default=Settings.epochs, help="of the last training")
    add("--disguises", type=int, default=Settings.disguises, help="of each recording")
    add("--seed", type=int, default=Settings.seed, help="also draws the speakers")
    return options


def main() -> None:
    """Reads the command line and runs."""
    options = vars(parser().parse_args())
    folder, source, words = (options.pop(k) for k in ("output", "data", "words"))
    run(folder, source, words, Settings(**options))


if __name__ == "__main__":
    main()
