"""What a file says of its origin, in an entry of metadata that is JSON."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema

NAME = "keras_share"  # of the entry


def read_metadata(model: schema.ModelT) -> dict[str, Any]:
    """What `write_metadata` put in; empty if there is no such entry."""
    for entry in model.metadata or ():
        if flatbuffer.text(entry.name) == NAME:
            try:
                facts = json.loads(flatbuffer.buffer_bytes(model, entry.buffer))
            except (ValueError, RecursionError):  # another tool's, or damaged
                continue
            if isinstance(facts, dict) and _is_flat(facts):
                return facts
    return {}


def _is_flat(facts: Any, depth: int = 20) -> bool:
    """Whether it is nested no deeper than what can be shown."""
    inner = facts.values() if isinstance(facts, dict) else facts
    if not isinstance(facts, dict | list):
        return True
    return depth > 0 and all(_is_flat(x, depth - 1) for x in inner)


def write_metadata(model: schema.ModelT, facts: Mapping[str, Any]) -> None:
    """Puts metadata into a model, in the place of any of that name."""
    entry = schema.MetadataT()
    entry.name = NAME.encode()
    entry.buffer = len(model.buffers)
    content = np.frombuffer(json.dumps(dict(facts)).encode(), np.uint8)
    model.buffers.append(schema.BufferT(content))
    others = [e for e in model.metadata or () if flatbuffer.text(e.name) != NAME]
    model.metadata = [*others, entry]
