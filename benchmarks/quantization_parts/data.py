"""What the networks are trained and tested on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from keyword_parts.augmentation import Augmentation, disguised_features
from keyword_parts.datasets import load_data
from log_mel import frontend_model
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

CALIBRATION_SAMPLES = 200
NUM_MELS = 24
DISGUISES = 4  # versions of each recording that are trained on


@dataclass(frozen=True)
class Data:
    """Training and test set, and the samples that ranges are set from.

    Args:
        x: Features to train on, `(n, ...)`.
        y: Their labels, `(n,)`.
        x_test: Features of the test set.
        y_test: Their labels.
        samples: Some of the training set, as they are at inference.
    """

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    samples: np.ndarray

    def save(self, path: Path) -> None:
        """Writes the arrays to an `.npz` file."""
        np.savez(path, **vars(self))


def digits(seed: int) -> Data:
    """scikit-learn's handwritten digits, 8 x 8 pixels; 25% for the test."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).reshape(-1, 8, 8).astype("float32")
    x, x_test, y, y_test = train_test_split(
        x, y, test_size=0.25, stratify=y, random_state=seed
    )
    return Data(x, y, x_test, y_test, x[:CALIBRATION_SAMPLES])


def spoken(source: str, seed: int) -> Data:
    """Log-mel features of spoken digits, tested on a speaker not trained on.

    Args:
        source: Of the recordings, see `keyword_parts.datasets.load_data`.
        seed: Draws the speakers.
    """
    split = load_data(source, seed=seed).split
    # Nothing is chosen by validation here.
    parts = (split.train, split.validation)
    waveforms = np.concatenate([part.x for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    frontend = frontend_model(waveforms, split.train.sample_rate, NUM_MELS)
    clean, x_test = (
        frontend.predict(x, batch_size=64, verbose=0) for x in (waveforms, split.test.x)
    )
    augmentation = Augmentation()
    disguised = np.concatenate(
        disguised_features(
            waveforms, frontend.predict_on_batch, augmentation, DISGUISES, seed
        )
    )
    return Data(
        augmentation.mask(disguised, np.random.default_rng(seed)),
        np.tile(labels, DISGUISES),
        x_test,
        split.test.labels,
        clean[:: max(1, len(clean) // CALIBRATION_SAMPLES)],
    )
