"""What Keras 3.12 lacks, the newest version on Python 3.10."""

import keras

OLDER = keras.version().startswith("3.12.")
