"""Reading a `.keras` file that somebody gave."""

import os
import zipfile

import keras

from keras_share.archive import check_unpacked
from keras_share.flat.first_sentence import first_sentence


def load_keras_file(path: str | os.PathLike, compile: bool = False) -> keras.Model:
    """Loads a model in Keras's safe mode; layers of keras_share are known.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no model that loads, or one that unpacks to far more
            bytes than it has.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            "A Keras model must be an existing .keras file, as model.save(path) "
            f"writes it. Received: {os.fspath(path)!r}"
        )
    if zipfile.is_zipfile(path):
        check_unpacked(path)
    try:
        return keras.saving.load_model(path, compile=compile)
    # Keras follows a damaged file until something breaks, in Keras or below it.
    except Exception as error:
        raise ValueError(
            "A Keras model must be a .keras file that loads with keras, keras_share "
            "and the code that was imported before; one with functions or layers of "
            "your own is loaded and passed in Python. Received: "
            f"{os.fspath(path)!r}: {type(error).__name__}: {first_sentence(error)}"
        ) from error
