"""Reading the `.keras` file that a command was given."""

import os
from typing import TYPE_CHECKING
from zipfile import BadZipFile

if TYPE_CHECKING:
    import keras


def load_model(path: str | os.PathLike) -> "keras.Model":
    """Loads a model; layers of keras_share are known.

    Raises:
        ValueError: If the file is missing, or no model that loads.
    """
    import keras

    from keras_share.flat.first_sentence import first_sentence

    if not os.path.isfile(path):
        raise FileNotFoundError(
            "A Keras model must be an existing .keras file, as model.save(path) "
            f"writes it. Received: {os.fspath(path)!r}"
        )
    try:
        return keras.saving.load_model(path, compile=False)
    # What Keras raises of files that are damaged, or hold layers of others.
    except (ValueError, TypeError, KeyError, OSError, BadZipFile) as error:
        raise ValueError(
            "A Keras model must be a .keras file that loads with keras, keras_share "
            "and no other code; one with functions or layers of your own is loaded and "
            f"exported in Python. Received: {os.fspath(path)!r}: "
            f"{type(error).__name__}: {first_sentence(error)}"
        ) from error
