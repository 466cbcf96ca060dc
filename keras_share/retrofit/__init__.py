"""Sharing in models that exist already."""

import keras  # noqa: F401 (first, see keras_share.registered)

from keras_share.retrofit.heat_map import plot_signals
from keras_share.retrofit.signals import closest_pattern

__all__ = ["closest_pattern", "plot_signals"]
