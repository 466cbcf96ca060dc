"""What a training step of `SharedStack` costs, against the same written by hand.

    python benchmarks/training_step.py [--width 128] [--rounds 15] [--jit]

Three comparisons of transformer blocks, all ratios within one run, the two variants in
turn: a stack that shares everything against a loop over one layer; a stack with private
normalization against a loop over the same layers with a normalization per site; and a
deep stack as a loop (`unroll=False`) against the same unrolled, for the step and for
what comes before the first one, tracing and compiling ("prepare").

What Adam adds to the latter grows with the number of variables, in a loop or not, and
with private normalization these are four per site: hence the row with SGD.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import pandas as pd
from keras import layers

from keras_share import SharedStack
from keras_share.blocks import TransformerBlock

HEADS = 4


def block(width: int) -> keras.Layer:
    """A transformer block."""
    return TransformerBlock(HEADS, 4 * width, activation="relu")


def shared_by_hand(x: keras.KerasTensor, num_sites: int) -> keras.KerasTensor:
    """One block at every site."""
    layer = block(x.shape[-1])
    for _ in range(num_sites):
        x = layer(x)
    return x


def normalized_by_hand(x: keras.KerasTensor, num_sites: int) -> keras.KerasTensor:
    """One block at every site, with normalization layers for each."""
    width = x.shape[-1]
    attention = layers.MultiHeadAttention(HEADS, width // HEADS)
    intermediate = layers.Dense(4 * width, activation="relu")
    output = layers.Dense(width)
    for _ in range(num_sites):
        x = layers.LayerNormalization(epsilon=1e-5)(x + attention(x, x))
        x = layers.LayerNormalization(epsilon=1e-5)(x + output(intermediate(x)))
    return x


def stack(**kwargs) -> Callable:
    """A `SharedStack` of one group."""

    def apply(x: keras.KerasTensor, num_sites: int) -> keras.KerasTensor:
        layer = SharedStack(
            lambda: block(x.shape[-1]), "shared", num_sites=num_sites, **kwargs
        )
        return layer(x)

    return apply


def measure(
    reference: Callable,
    ours: Callable,
    num_sites: int,
    optimizer: str,
    options: argparse.Namespace,
) -> dict[str, float]:
    """Seconds per step, and before the first, of both variants, and their ratios."""
    rng = np.random.default_rng(0)
    shape = (options.batch, options.length, options.width)
    x, y = rng.normal(size=(2, *shape)).astype("float32")
    models, first = [], []
    for apply in (reference, ours):
        keras.utils.set_random_seed(0)
        inputs = keras.Input(shape[1:])
        model = keras.Model(inputs, apply(inputs, num_sites))
        model.compile(optimizer, "mse", jit_compile=options.jit)
        start = time.perf_counter()
        model.train_on_batch(x, y)
        first.append(time.perf_counter() - start)
        models.append(model)
    steps: list[list[float]] = [[], []]
    for number in range(options.rounds + 1):
        # Each goes first in half of the rounds.
        for index in (0, 1) if number % 2 else (1, 0):
            start = time.perf_counter()
            models[index].train_on_batch(x, y)
            steps[index].append(time.perf_counter() - start)
    # The first round is warm-up.
    pairs = list(zip(*steps, strict=True))[1:]
    step_s = [statistics.median(pair[index] for pair in pairs) for index in (0, 1)]
    prepare_s = [first[index] - step_s[index] for index in (0, 1)]
    return {
        "sites": num_sites,
        "reference_step_s": step_s[0],
        "stack_step_s": step_s[1],
        "step_ratio": statistics.median(b / a for a, b in pairs),
        "reference_prepare_s": prepare_s[0],
        "stack_prepare_s": prepare_s[1],
        "prepare_ratio": prepare_s[1] / prepare_s[0],
    }


def main() -> None:
    """Runs the comparisons and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--sites", type=int, default=12)
    parser.add_argument("--deep", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--jit", action="store_true", help="compile with XLA")
    parser.add_argument("--only", help="run the comparisons with this in their name")
    options = parser.parse_args()

    shared, normalized = stack(private=None), stack(private="normalization")
    shared_loop = stack(private=None, unroll=False)
    normalized_loop = stack(private="normalization", unroll=False)
    comparisons = {
        "shared, by hand": (shared_by_hand, shared, options.sites, "adam"),
        "private norm, by hand": (
            normalized_by_hand,
            normalized,
            options.sites,
            "adam",
        ),
        "shared, loop": (shared, shared_loop, options.deep, "adam"),
        "private norm, loop": (normalized, normalized_loop, options.deep, "adam"),
        "private norm, loop, SGD": (normalized, normalized_loop, options.deep, "sgd"),
    }
    rows = {
        name: measure(*comparison, options)
        for name, comparison in comparisons.items()
        if options.only is None or options.only in name
    }
    print(pd.DataFrame(rows).T.round(3).to_string())


if __name__ == "__main__":
    main()
