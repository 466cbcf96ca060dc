"""The two data sets in six parts of 16 features, in halves to train and validate on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keyword_parts.datasets import load_data
from log_mel import frontend_model
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from search_tables.network import FEATURES, NUM_SITES

FIRST_ROWS = (0, 1, 2, 4, 5, 6)  # each part of a digit is two rows
FRAMES = 10  # of each part of a word: 0.16 s


@dataclass(frozen=True)
class Data:
    """Both halves: features `(n, 96)` and labels `(n,)`."""

    x: np.ndarray
    y: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray


def load(table: str, source: str) -> Data:
    """The data of a table.

    Args:
        table: `"digits"` or `"spoken"`.
        source: Of the recordings, see `keyword_parts.datasets.load_data`.
    """
    return digits() if table == "digits" else spoken(source)


def digits() -> Data:
    """scikit-learn's handwritten digits, 8 x 8 pixels from -1 to 1."""
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8) / 8 - 1
    parts = [x[:, row : row + 2].reshape(-1, FEATURES) for row in FIRST_ROWS]
    return _halves(np.concatenate(parts, axis=1), y, y)


def spoken(source: str) -> Data:
    """Free Spoken Digit Dataset: the log-mel features of a word, averaged over parts.

    Both halves have the same voices: to tell patterns apart takes many recordings, and
    there are few speakers.
    """
    split = load_data(source).split
    sets = (split.train, split.validation, split.test)
    x = np.concatenate([recordings.x for recordings in sets])
    y = np.concatenate([recordings.labels for recordings in sets])
    speakers = np.concatenate([recordings.speakers for recordings in sets])
    frontend = frontend_model(x, split.train.sample_rate, FEATURES)
    frames = frontend.predict(x, batch_size=64, verbose=0)[:, : NUM_SITES * FRAMES]
    parts = frames.reshape(-1, NUM_SITES, FRAMES, FEATURES).mean(axis=2)
    strata = [f"{who} {label}" for who, label in zip(speakers, y, strict=True)]
    return _halves(parts.reshape(len(y), -1), y, strata)


def _halves(x: np.ndarray, y: np.ndarray, strata: Sequence) -> Data:
    x, y = np.asarray(x, "float32"), np.asarray(y, "int32")
    x, x_val, y, y_val = train_test_split(
        x, y, test_size=0.5, stratify=strata, random_state=0
    )
    return Data(x, y, x_val, y_val)
