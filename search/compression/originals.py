"""`Originals`: the trained models that candidates are made of."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_share.atomic import write_atomically
from keras_share.search.compression.data import Data
from keras_share.search.compression.training import initial_rate, train

_SAMPLES = 256


class Originals:
    """The trained model, or of a function of the width one model for each width.

    Args:
        model: A compiled model, the path to one in a `.keras` file, or a function from
            a width to a compiled model that is yet to be trained.
        widths: The widths that the function is called with.
        folder: Where models are kept that were trained here.
        data: What they are trained on.
        epochs: For how many epochs.

    Raises:
        TypeError: If `model` is none of these.
        ValueError: If a model is not compiled or not built, or there are no widths.
    """

    def __init__(
        self, model: Any, widths: Sequence[int], folder: Path, data: Data, epochs: int
    ):
        if isinstance(model, (str, os.PathLike)):
            model = _loaded(model)
        self._build: Callable[[int], keras.Model] | None = None
        self._folder = folder
        self._data = data
        self._epochs = epochs
        self._fresh: dict[int | None, keras.Model] = {}
        self._trained: dict[int | None, keras.Model] = {}
        if isinstance(model, keras.Model):
            if widths:
                raise ValueError(
                    "`widths` are those of a function: pass as `model` a function from "
                    "a width to a compiled model. Received: a model, and widths="
                    f"{list(widths)}"
                )
            self.widest = None
            self._fresh[None] = self._trained[None] = _checked(model)
        elif callable(model):
            if not widths:
                raise ValueError(
                    "A function from a width to a model needs the `widths` to choose "
                    "from, such as widths=[16, 24, 32]. Received: none"
                )
            self.widest = max(widths)
            self._build = model
        else:
            raise TypeError(
                "`model` must be a compiled Keras model, the path to a .keras file of "
                "one, or a function from a width to one. Received: "
                f"{type(model).__name__}"
            )

    def fresh(self, width: int | None = None) -> keras.Model:
        """A model of a width, whose weights may be untrained; of None the widest."""
        width = self.widest if width is None else width
        if width not in self._fresh:
            assert self._build is not None and width is not None  # else it is there
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
                train(
                    model,
                    teacher,
                    model,
                    self._data,
                    epochs=self._epochs,
                    learning_rate=initial_rate(model),
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


def _loaded(path: str | os.PathLike) -> keras.Model:
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"There is no file {os.fspath(path)!r}. Save the trained model there with "
            "`model.save`."
        )
    return keras.models.load_model(path)


def _checked(model: keras.Model) -> keras.Model:
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(
            "A model to compress must be a built Keras model. Received: "
            f"{type(model).__name__}"
        )
    if not getattr(model, "compiled", False) or not model.get_compile_config():
        raise ValueError(
            "A model to compress must be compiled, so that candidates are trained and "
            f"judged as it was. Received: '{model.name}', not compiled. Call "
            "`model.compile(optimizer, loss, metrics=...)` before `model.save`, or "
            "before it is passed."
        )
    for variable in model.weights:
        value = keras.ops.convert_to_numpy(variable)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(
                "The weights of a model to compress must be finite. Received: NaN or "
                f"infinity in '{variable.path}'. Its training went wrong: lower the "
                "learning rate and train it anew."
            )
    return model
