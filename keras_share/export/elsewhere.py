"""Export where Keras runs on another backend: by TensorFlow, in a process apart."""

import importlib
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_share.flat.built_model import input_structure
from keras_share.flat.first_sentence import first_sentence
from keras_share.layers.sublayers import sublayers
from keras_share.tflite.inspect.audit import Audit
from keras_share.tflite.runtimes.apart import RunError, run_apart

_SECONDS = 24 * 3600.0
_ERRORS = {x.__name__: x for x in (OSError, RuntimeError, TypeError, ValueError)}


def export_elsewhere(
    model: keras.Model,
    path: str | os.PathLike,
    rows: Sequence[list[np.ndarray]] | None,
    options: Mapping[str, Any],
) -> Audit:
    """Saves a model, and exports it by TensorFlow in a process of its own.

    Args:
        model: The model.
        path: Where to write the file.
        rows: The samples of `representative_dataset`, if there is one.
        options: The other arguments of `export_tflite`.

    Raises:
        ValueError: If the model can't be saved or loaded, or exported.
    """
    modules = {type(part).__module__ for part in sublayers(model)} - {"__main__"}
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "model.keras")
        try:
            model.save(saved)
        except Exception as error:  # of whatever the model's layers are
            raise _no_way(str(error)) from error
        given = [str(saved), os.path.abspath(path), sorted(modules), rows, options]
        try:
            kind, found, told = run_apart(
                *("call", "keras_share.export.elsewhere", "export_saved", sys.path),
                given,
                timeout=_SECONDS,
                environment={"KERAS_BACKEND": "tensorflow"},
            )
        except RunError as error:
            raise RuntimeError(f"The export ended: {error}") from error
    for message in told:
        warnings.warn(message, stacklevel=3)
    if kind == "unknown":
        raise _no_way(found)
    if kind != "report":
        raise _ERRORS.get(kind, RuntimeError)(found)
    return replace(found, path=os.fspath(path))


def export_saved(
    saved: str,
    path: str,
    modules: Sequence[str],
    rows: Sequence[list[np.ndarray]] | None,
    options: Mapping[str, Any],
) -> tuple[str, Any, list[str]]:
    """Exports a saved model in this process, whose Keras runs on TensorFlow.

    Returns:
        What `found` is: "report", "unknown" (why the model can't be loaded) or the
        class of an error; what was found; and what was warned of.
    """
    export_tflite = importlib.import_module("keras_share").export_tflite  # no circle
    kind: str = "report"
    found: Any = None
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        try:
            for module in modules:
                importlib.import_module(module)
            model = keras.saving.load_model(saved, compile=False)
        except Exception as error:
            return "unknown", first_sentence(error), []

        def dataset() -> Any:
            structure = input_structure(model)
            return (keras.tree.pack_sequence_as(structure, row) for row in rows or ())

        try:
            found = export_tflite(
                model,
                path,
                representative_dataset=None if rows is None else dataset,
                **options,
            )
        except Exception as error:
            kind = next(
                (x.__name__ for x in type(error).__mro__ if x.__name__ in _ERRORS),
                "RuntimeError",
            )
            found = str(error)
    messages = [str(x.message) for x in told if x.category is UserWarning]
    return kind, found, messages


def _no_way(reason: str) -> ValueError:
    backend = keras.backend.backend()
    return ValueError(
        f"From the {backend} backend a model is exported by TensorFlow in a process of "
        "its own, which must load it from a file, in safe mode: classes of your own "
        "must be registered (keras.saving.register_keras_serializable) in a module "
        "that can be imported, and a Lambda layer can't be loaded. Otherwise run this "
        f"program with KERAS_BACKEND=tensorflow. Received: {reason}"
    )
