"""Models that run on a stream, a few frames at a time: `keras_share.streaming`."""

import keras  # noqa: F401 (first, see keras_share.registered)

from keras_share.stream.run import initial_states, run, steps
from keras_share.stream.streaming import delays, streaming

__all__ = ["delays", "initial_states", "run", "steps", "streaming"]
