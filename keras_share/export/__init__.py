"""Export of Keras models to `.tflite`."""

from keras_share.export.convert import export_tflite

__all__ = ["export_tflite"]
