"""Sharing in models that exist already."""

import keras  # noqa: F401 (first, see keras_share.registered)
