"""`Originals`: the trained models that candidates are made of."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_share.atomic import write_atomically
from keras_share.flat.built_model import check_model
from keras_share.layers.sublayers import sublayers
from keras_share.retrofit.keras_file import load_keras_file
from keras_share.search.compression.data import Data
from keras_share.search.compression.training import initial_rate, judged, train

_SAMPLES = 256


class Originals:
    """The trained model, or of a function of the width one model for each width.

    Models of a function are trained on the data for so many epochs, and kept in the
    folder. It is a ValueError if `model` is neither, not compiled, or not built.
    """

    def __init__(
        self, model: Any, widths: Sequence[int], folder: Path, data: Data, epochs: int
    ):
        if isinstance(model, (str, os.PathLike)):
            model = load_keras_file(model, compile=True)
        is_function = callable(model) and not isinstance(model, keras.Model)
        if is_function != bool(widths):
            raise ValueError(
                "`widths` are those of a function from a width to a compiled model, "
                "such as widths=[16, 24, 32], and such a function needs them. Received:"
                f" a {type(model).__name__} as `model`, and widths={list(widths)}"
            )
        self.widest = max(widths, default=None)
        self._build = model
        self._folder = folder
        self._data = data
        self._epochs = epochs
        self._fresh: dict[int | None, keras.Model] = {}
        self._trained: dict[int | None, keras.Model] = {}
        if not is_function:
            self._fresh[None] = self._trained[None] = _checked(model)

    def fresh(self, width: int | None = None) -> keras.Model:
        """A model of a width, whose weights may be untrained; of None the widest."""
        width = self.widest if width is None else width
        if width not in self._fresh:
            self._fresh[width] = _checked(self._build(width))
        return self._fresh[width]

    def samples(self) -> Any:
        """Inputs by which shared kernels are fitted."""
        return self._data.samples(_SAMPLES)

    def trained(self, width: int | None = None) -> keras.Model:
        """The trained model of a width; of None the widest.

        It is trained when it is first needed. Narrower ones learn from the widest, too.
        """
        width = self.widest if width is None else width
        if width not in self._trained:
            path = self._folder / f"width_{width}.keras"
            model = self.fresh(width)
            if path.exists():
                model.load_weights(path)
            else:
                teacher = None if width == self.widest else self.trained()
                rate, epochs = initial_rate(model), self._epochs
                train(
                    model, teacher, model, self._data, epochs=epochs, learning_rate=rate
                )
                save(model, path)
            self._trained[width] = model
        return self._trained[width]


def save(model: keras.Model, path: Path) -> None:
    """Saves a model whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    model.save(partial)
    write_atomically(path, partial.read_bytes())
    partial.unlink()


def _checked(model: Any) -> keras.Model:
    is_built = isinstance(model, keras.Model) and model.built
    if not is_built or not model.compiled or not model.get_compile_config():
        raise ValueError(
            "A model to compress must be a Keras model that is built, and must be "
            "compiled, so that candidates are trained and judged as it was. Received: "
            f"{model.name if is_built else type(model).__name__!r}, not compiled. Call "
            "`model.compile(optimizer, loss, metrics=...)` before `model.save`, or "
            "before it is passed."
        )
    check_model(model)
    if "__lambda__" in keras.tree.flatten(model.get_compile_config()):
        raise ValueError(
            "What a model to compress was compiled with must have names, so that "
            "candidates get it from its config. Received: a lambda among the loss, the "
            f"metrics and the optimizer of '{model.name}'. Write it as a function, and "
            "register that with `keras.saving.register_keras_serializable()`."
        )
    try:
        judged(model, model)
    except TypeError as error:
        raise ValueError(
            "What a model to compress was compiled with must be known to Keras, so that"
            " candidates get it from its config: decorate functions and classes of your"
            " own with `@keras.saving.register_keras_serializable()`. Received: "
            f"'{model.name}', of which {str(error).splitlines()[0]}"
        ) from error
    for variable in model.weights:
        value = keras.ops.convert_to_numpy(variable)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(
                "The weights of a model to compress must be finite. Received: NaN or "
                f"infinity in '{variable.path}'. Its training went wrong: lower the "
                "learning rate and train it anew."
            )
    return model


def digest(model: keras.Model, values: bool) -> str:
    """Of the layers and weights of a model, without names, which Keras counts on."""
    forms = [
        [type(part).__name__, *(list(v.shape) for v in part.weights)]
        for part in sublayers(model)
    ]
    found = hashlib.sha256(json.dumps(forms).encode())
    for variable in model.weights if values else ():
        found.update(keras.ops.convert_to_numpy(variable).tobytes())
    return found.hexdigest()[:16]
