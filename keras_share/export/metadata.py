"""What a file says of itself."""

import json
from collections.abc import Mapping
from typing import Any

import keras

from keras_share.quantize.quantization import Quantization
from keras_share.quantize.quantized_model import patterns_of
from keras_share.version import __version__


def describe(
    model: keras.Model,
    quantization: Quantization,
    aware: bool,
    target: str,
    more: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The metadata of a model's file.

    Raises:
        ValueError: If `more` holds what JSON can't, or one of our own names.
    """
    facts = {
        "name": model.name,
        "keras_share": __version__,
        "quantization": quantization.value,
        "quantization_aware": aware,
        "target": target,
        "patterns": patterns_of(model),
    }
    more = {} if more is None else more
    try:
        if not isinstance(more, Mapping):
            raise TypeError("it is no mapping")
        json.dumps(dict(more), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`metadata` must be a dictionary of what JSON can hold: text, numbers, "
            f"lists and dictionaries ({error}). Received: metadata={more!r}"
        ) from error
    taken = facts.keys() & more.keys()
    if taken:
        raise ValueError(
            f"`metadata` can't say what the export itself does: {', '.join(facts)}. "
            f"Received: {', '.join(sorted(taken))}. Choose other names."
        )
    return {**facts, **more}
