"""The ways of writing a model for the converter, the best one first."""

import contextlib
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import keras
import numpy as np
from keras import tree

from keras_share.export.inference import inference_model
from keras_share.flat.built_model import input_structure
from keras_share.flat.first_sentence import first_sentence
from keras_share.flat.precision import full_precision
from keras_share.flat.tensors import fresh_input
from keras_share.quantize.quantization import quantization_of
from keras_share.quantize.representative import (
    fits,
    has_open_sizes,
    random_sample,
    warn_of_sizes,
)

_SIZES = (32, 256, 16, 8, 4, 1)  # for open axes of a file that must have fixed ones
Rows = list[list[np.ndarray]]
Result = TypeVar("Result")


def first_that_works(
    attempt: Callable[[keras.Model, Rows], Result],
    model: keras.Model,
    batch_size: int | None,
    rows: Rows,
    given: bool,
) -> Result:
    """What `attempt` makes of a model in the first form in which it can.

    The forms are that of `inference_model`; the same for the sizes of the first sample,
    where inputs have open ones; and the model as it is, which is what Keras exports. A
    warning tells of the second and third. A quantized model has no third.

    Args:
        attempt: Converts and checks a model, with the samples that fit it.
        model: The model, quantized or not.
        batch_size: That of the form; None leaves it open.
        rows: Samples.
        given: Whether they are the user's, of whose sizes a file should be.

    Raises:
        Exception: What the first form raises, or the second if there is one, when no
            form can be converted.
    """
    rows = [row for row in rows if all(map(fits, row, model.inputs))]
    try:
        with full_precision():
            form = inference_model(model, batch_size)
        return attempt(form, rows)
    except Exception as error:  # TensorFlow, and layers of the user's own, raise any
        if _is_ours(error):
            raise
        reason = error
    shapes = None
    if has_open_sizes(model):
        rows = rows if given else [random_sample(model, sizes=_SIZES)]
        shapes = [x.shape for x in rows[0]]
        rows = [row for row in rows if [x.shape for x in row] == shapes]
        try:
            with full_precision():
                form = inference_model(model, batch_size, shapes)
            result = attempt(form, rows)
        except Exception as error:
            if _is_ours(error):
                raise
            reason = error
        else:
            warn_of_sizes("file", model, shapes, stacklevel=3)
            return result
    if quantization_of(model) is not None:
        raise reason
    found: list[Result] = []
    with contextlib.suppress(Exception):  # the first reason is told
        found.append(attempt(_as_it_is(model, batch_size, shapes), rows))
    if not found:
        raise reason
    warnings.warn(
        f"The model '{model.name}' was converted as it is, as Keras's own export does: "
        f"{first_sentence(reason)} Nothing keeps the converter from storing a weight "
        "that sites share once for each; `Audit.untied` lists those that it did.",
        stacklevel=3,
    )
    if shapes is not None:
        warn_of_sizes("file", model, shapes, stacklevel=3)
    return found[0]


def _is_ours(error: Exception) -> bool:
    """Whether an error is a mistake in this package, which must not become a warning.

    What it refuses on purpose is a ValueError.
    """
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    ours = frame.f_globals.get("__name__", "").startswith("keras_share.")
    return ours and not isinstance(error, ValueError)


def _as_it_is(
    model: keras.Model,
    batch_size: int | None,
    shapes: Sequence[Sequence[int]] | None,
) -> keras.Model:
    structure = input_structure(model)
    given = tree.flatten(structure)
    inputs = [
        fresh_input(x, batch_size, x.name, shape)
        for x, shape in zip(given, shapes or (None,) * len(given), strict=True)
    ]
    packed = tree.pack_sequence_as(structure, inputs)
    return keras.Model(packed, model(packed), name=model.name)
