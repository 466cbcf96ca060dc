"""What a file says of itself."""

import json
from collections.abc import Mapping
from typing import Any

import keras

from keras_share.layers.shared_stack import SharedStack
from keras_share.layers.sublayers import sublayers
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.metadata import write_metadata
from keras_share.version import __version__


def describe(
    model: keras.Model, scheme: str, target: str, more: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The metadata of a model's file.

    Raises:
        ValueError: If `more` holds what JSON can't, or one of our own names.
    """
    stacks = [part for part in sublayers(model) if isinstance(part, SharedStack)]
    facts = {
        "name": model.name,
        "keras_share": __version__,
        "quantization": scheme,
        "target": target,
        "patterns": {stack.name: _pattern(stack) for stack in stacks},
    }
    more = {} if more is None else more
    taken = set(facts).intersection(more) if isinstance(more, Mapping) else ()
    try:
        if not isinstance(more, Mapping):
            raise TypeError("it is no mapping")
        json.dumps(dict(more), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`metadata` must be a dictionary of what JSON can hold: text, numbers, "
            f"lists and dictionaries ({error}). Received: metadata={more!r}"
        ) from error
    if taken:
        raise ValueError(
            f"`metadata` can't say what the export itself does: {', '.join(facts)}. "
            f"Received: {', '.join(sorted(taken))}. Choose other names."
        )
    return {**facts, **more}


def _pattern(stack: SharedStack) -> str | dict[str, str]:
    parts = {name: str(pattern) for name, pattern in stack.patterns.items()}
    return parts or str(stack.pattern)


def with_metadata(data: bytes, facts: Mapping[str, Any]) -> bytes:
    """Puts metadata into a file, in the place of any of that name."""
    model = flatbuffer.read(data)
    write_metadata(model, facts)
    return flatbuffer.pack(model)
