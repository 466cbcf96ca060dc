r"""The main job, end to end, on real handwritten digits.

Trains a small convolutional network and compresses it to a file of at most 60 KB, a
ninth of its bytes: searches which of six convolutions share their weights, how strictly
and in how many bits, trains the best candidates with quantization, exports them as
`.tflite` files, runs the files on a test set, and says whether sharing earned it.

    python examples/quickstart.py [--output quickstart_results] [--trials 4] [--seed 0]

Run again, it goes on where it was interrupted. The digits are scikit-learn's (1,797
images of 8 x 8 pixels), so nothing is downloaded. From a shell, it is

    keras-share compress quickstart_results/original.keras \
        --data examples/quickstart.py:load --max-bytes 60k
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras
import numpy as np
from sklearn.datasets import load_digits

from keras_share.search import compress

MAX_BYTES = 60_000
FILTERS = 48
SITES = 6

Samples = tuple[np.ndarray, np.ndarray]


def load(seed: int = 0) -> tuple[Samples, Samples, Samples]:
    """Digits to train on, to choose by, and to judge files on: 1000, 350 and 447."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).reshape(-1, 8, 8, 1).astype("float32")
    order = np.random.default_rng(seed).permutation(len(x))
    train, validation, test = np.split(order, [1000, 1350])
    return (x[train], y[train]), (x[validation], y[validation]), (x[test], y[test])


def build_model() -> keras.Model:
    """A plain Keras model: nothing in it knows of sharing."""
    layers = keras.layers
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(FILTERS, 3, padding="same", activation="relu")(inputs)
    for _ in range(SITES):
        x = layers.Conv2D(FILTERS, 3, padding="same", use_bias=False)(x)
        # A training this short has few steps for the moving statistics.
        x = layers.BatchNormalization(momentum=0.8)(x)
        x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(10)(x), name="digits")
    model.compile(
        keras.optimizers.Adam(2e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,  # compiling takes longer than so short a training
    )
    return model


def main() -> None:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("quickstart_results"))
    parser.add_argument("--trials", type=int, default=4, help="candidates to try")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    started = time.perf_counter()
    train, validation, test = load(options.seed)
    original = options.output / "original.keras"
    if not original.exists():
        keras.utils.set_random_seed(options.seed)
        options.output.mkdir(parents=True, exist_ok=True)
        model = build_model()
        model.fit(*train, epochs=10, batch_size=64, verbose=0)
        model.save(original)
    found = compress(
        original,
        train,
        validation,
        test=test,
        output=options.output,
        max_bytes=MAX_BYTES,
        trials=options.trials,
        batch_size=64,
        seed=options.seed + 1,
    )
    print(found)
    print(f"{time.perf_counter() - started:.0f} seconds")


if __name__ == "__main__":
    main()
