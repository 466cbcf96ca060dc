"""The trained model that trials start from: checked, and loaded once."""

import os
from functools import lru_cache
from typing import Any

import keras


def check_donor(donor: Any) -> Any:
    """Returns what may be a donor, or None, before work is put in.

    Raises:
        TypeError: If it is neither a model nor a path.
        FileNotFoundError: If there is no such file.
    """
    if donor is None or isinstance(donor, keras.Model):
        return donor
    if not isinstance(donor, (str, os.PathLike)):
        raise TypeError(
            "A donor of weights must be a Keras model or the path to a `.keras` file. "
            f"Received: {donor!r}"
        )
    if not os.path.isfile(donor):
        raise FileNotFoundError(
            "The donor of weights must be an existing `.keras` file. Received: "
            f"{os.fspath(donor)!r}. Train the network without sharing once and save it "
            "there."
        )
    return donor


def load_donor(donor: Any) -> keras.Model:
    """Loads a donor from its file, again only when that changed."""
    if isinstance(donor, keras.Model):
        return donor
    check_donor(donor)
    path = os.path.abspath(donor)
    return _load_once(path, os.stat(path).st_mtime_ns)


@lru_cache(maxsize=4)
def _load_once(path: str, changed: int) -> keras.Model:
    return keras.models.load_model(path, compile=False)
