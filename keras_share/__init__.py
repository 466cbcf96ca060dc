"""Cross-layer parameter sharing for Keras."""

from keras_share.pattern import SharingPattern
from keras_share.stack import SharedStack
from keras_share.tied import Tied, TiedCloner
from keras_share.version import __version__

__all__ = ["SharedStack", "SharingPattern", "Tied", "TiedCloner", "__version__"]
