"""What can be done with a `.tflite` file, wherever it came from.

Nothing here takes in Keras or TensorFlow, and each tool is imported where it is first
used.
"""

import lazy_loader

# The names are those of `__init__.pyi`.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
