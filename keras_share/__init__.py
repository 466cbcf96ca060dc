"""Cross-layer parameter sharing for Keras."""

from keras_share.pattern import SharingPattern
from keras_share.version import __version__

__all__ = ["SharingPattern", "__version__"]
