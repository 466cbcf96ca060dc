"""Building graphs in full precision, whatever the global dtype policy."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def full_precision() -> Iterator[None]:
    """Makes float32 the dtype policy of the layers that are made in this context.

    TFLite's converter takes no half floats, and rounding to int8 is precision loss
    enough.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
