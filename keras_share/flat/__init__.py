"""Models as flat lists of steps: what quantization, export and `share` work on."""

import keras  # noqa: F401 (first, see keras_share.registered)
