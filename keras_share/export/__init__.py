"""From a Keras model to a checked `.tflite` file."""

import keras  # noqa: F401 (first, see keras_share.registered)
