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
            if isinstance(facts, dict):
                return facts
    return {}


def write_metadata(model: schema.ModelT, facts: Mapping[str, Any]) -> None:
    """Puts metadata into a model, in the place of any of that name."""
    entry = schema.MetadataT()
    entry.name = NAME.encode()
    entry.buffer = len(model.buffers)
    content = np.frombuffer(json.dumps(dict(facts)).encode(), np.uint8)
    model.buffers.append(schema.BufferT(content))
    others = [e for e in model.metadata or () if flatbuffer.text(e.name) != NAME]
    model.metadata = [*others, entry]
