"""The bytes of a `.tflite` file: read, changed and packed again."""
