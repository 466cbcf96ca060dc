"""ALBERT on a text of yours: pretrained, evaluated, fine-tuned, exported and run.

Builds the encoder with factorized embeddings and any way of sharing its blocks, trains
it on masked words and the order of sentences, trains a classifier on top that tells
which part of the text a passage is from, and exports both to `.tflite` files, which
are run on text that was held out.

    python examples/albert.py                                  about 5 minutes
    python examples/albert.py --mode cycle:3 --text book.txt --output book_results
    python examples/albert.py --mode feedforward=sequence:2,attention=shared
    python examples/albert.py --mode shared+lowrank:8 --steps 3000

Run again with the same arguments, it goes on where it was interrupted. Without
`--text`, the text is the language reference that ships with Python.
"""

import argparse
import json
import os
from dataclasses import fields, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras
import numpy as np
from albert_parts import classification, pretraining
from albert_parts.config import CONFIGS
from albert_parts.corpus import Corpus, load_corpus, read_text
from albert_parts.encoder import albert_encoder
from albert_parts.exported import accuracies, fill, masked_passages, spread
from albert_parts.modes import MODES, parse_mode
from albert_parts.settings import PRESETS, Settings, remember
from albert_parts.training import train
from rich.console import Console
from rich.table import Table

import keras_share as ks
from keras_share.atomic import write_atomically

FILE_EXAMPLES = 100  # of the held-out text that the files are run on
_SHOWN = 3  # of them with a masked word

console = Console()


def prepare(settings: Settings, text: str, folder: Path) -> Corpus:
    """Makes the folder of a run, and the corpus of its text."""
    folder.mkdir(parents=True, exist_ok=True)
    remember(settings, text, folder)
    return load_corpus(
        text,
        settings.num_parts,
        settings.vocabulary_size,
        settings.length,
        folder / "vocabulary.txt",
    )


def pretrain(settings: Settings, corpus: Corpus, folder: Path) -> keras.Model:
    """Builds the encoder with its two heads and trains it, or goes on training it."""
    keras.utils.set_random_seed(settings.seed)
    config = replace(CONFIGS[settings.size], vocabulary_size=len(corpus.vocabulary))
    encoder = albert_encoder(config, parse_mode(settings.mode), settings.length)
    model = pretraining.pretraining_model(encoder, config)
    pretraining.compile_pretraining(
        model, steps=settings.steps, learning_rate=settings.learning_rate
    )
    train(
        model,
        lambda step: pretraining.training_batch(
            corpus, settings.length, settings.batch_size, settings.seed, step
        ),
        settings.steps,
        folder / "pretraining.npz",
        title="pretraining",
        console=console,
    )
    return model


def fine_tune(
    settings: Settings, corpus: Corpus, encoder: keras.Model, folder: Path
) -> keras.Model:
    """Trains a classifier on the encoder, or goes on training it."""
    keras.utils.set_random_seed(settings.seed)
    model = classification.classifier_model(
        encoder, settings.num_parts, freeze=settings.freeze
    )
    classification.compile_classifier(
        model, steps=settings.tuning_steps, learning_rate=settings.tuning_rate
    )
    train(
        model,
        lambda step: classification.training_batch(
            corpus, settings.length, settings.batch_size, settings.seed, step
        ),
        settings.tuning_steps,
        folder / "classifier.npz",
        title="fine-tuning",
        console=console,
    )
    return model


def show_words(
    path: Path, corpus: Corpus, settings: Settings, sentence: str | None
) -> None:
    """Prints what a file takes masked words for, in a sentence or in held-out text."""
    rng = np.random.default_rng(settings.seed)
    masked = masked_passages(corpus, settings.length, _SHOWN, rng)
    if sentence is not None:
        masked = [(sentence, None)]
    for text, word in masked:
        console.print(f"\n{text}", markup=False, highlight=False)
        for guesses in fill(path, corpus.vocabulary, text, settings.length):
            line = ", ".join(f"{guess} {chance:.0%}" for guess, chance in guesses)
            told = f"   (the text has: {word})" if word else ""
            console.print(f"  {line}{told}", markup=False, highlight=False)


def run(
    settings: Settings, folder: Path, text: str, sentence: str | None = None
) -> dict[str, float]:
    """Does the whole job; returns what was measured on held-out text."""
    corpus = prepare(settings, text, folder)
    words = sum(map(len, corpus.train)), sum(map(len, corpus.test))
    console.print(
        f"[bold]1. Text[/bold] {words[0]:,} words to train on, {words[1]:,} held out, "
        f"a vocabulary of {len(corpus.vocabulary):,}"
    )
    console.print(
        f"[bold]2. Pretrain[/bold] a {settings.size} encoder: {settings.mode}"
    )
    model = pretrain(settings, corpus, folder)
    model.save(folder / "pretraining.keras")
    encoder = model.get_layer("encoder")
    encoder.get_layer("stack").summary(console.print)
    batch = pretraining.test_batch(corpus, settings.length)
    results = {
        "parameters": model.count_params(),
        **pretraining.evaluate(model, batch),
    }

    console.print("[bold]3. Export[/bold] and run the files on held-out text")
    few = spread(batch, FILE_EXAMPLES)
    for scheme in ("float32", "dynamic"):
        path = folder / f"pretraining_{scheme}.tflite"
        report = ks.export_tflite(model, path, target="cpu", quantization=scheme)
        results[f"{scheme}_bytes"] = report.file_bytes
        for name, accuracy in accuracies(path, few).items():
            results[f"{scheme}_{name}_accuracy"] = accuracy
    show_words(path, corpus, settings, sentence)

    console.print(
        "\n[bold]4. Fine-tune[/bold] a classifier of the "
        f"{settings.num_parts} parts of the text"
        + (" on the frozen encoder" if settings.freeze else "")
    )
    classifier = fine_tune(settings, corpus, encoder, folder)
    passages = classification.test_batch(corpus, settings.length)
    results["part_accuracy"] = classification.accuracy(classifier, passages)
    path = folder / "classifier.tflite"
    ks.export_tflite(classifier, path, target="cpu")
    few = accuracies(path, spread(passages, FILE_EXAMPLES))
    results["dynamic_part_accuracy"] = few["part"]

    write_atomically(folder / "results.json", json.dumps(results, indent=2).encode())
    table = Table("on held-out text", title=settings.mode)
    table.add_column("", justify="right")
    for name, value in results.items():
        number = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        table.add_row(name.replace("_", " "), number)
    console.print(table)
    console.print(f"Everything is in {folder.resolve()}")
    return results


def parser() -> argparse.ArgumentParser:
    """The command line; what is not told is as `PRESETS` has it for the size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", type=Path, default=Path("albert_results"), help="folder of the run")
    add("--text", type=Path, help="a text file in UTF-8")
    add("--sentence", help="words to show, with [MASK] where the model is to guess")
    add("--size", choices=PRESETS, default="small", help="the published ones take days")
    add("--tiny", action="store_const", dest="size", const="tiny", help="--size tiny")
    add("--mode", help="what the blocks share: " + ", ".join(MODES))
    add("--steps", type=int, help="steps of pretraining")
    add("--tuning-steps", type=int, help="steps of training the classifier")
    add("--batch-size", type=int, help="examples per step")
    add("--length", type=int, help="tokens per example")
    add("--vocabulary-size", type=int, help="most words to tell apart")
    add("--learning-rate", type=float, help="highest rate of pretraining")
    add("--tuning-rate", type=float, help="highest rate of training the classifier")
    add("--num-parts", type=int, help="parts of the text for the classifier")
    add("--freeze", action="store_true", default=None, help="don't train the encoder")
    add("--seed", type=int, help="of weights, masks and the order of examples")
    return parser


def read_settings(options: argparse.Namespace) -> Settings:
    """The settings of a size, with what the command line says instead."""
    names = {field.name for field in fields(Settings)}
    told = {k: v for k, v in vars(options).items() if k in names and v is not None}
    return replace(PRESETS[options.size], **told)


def main() -> None:
    """Reads the command line and runs."""
    options = parser().parse_args()
    text = read_text(options.text)
    run(read_settings(options), options.output, text, options.sentence)


if __name__ == "__main__":
    main()
