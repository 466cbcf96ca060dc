"""Running a `.tflite` file: in LiteRT and TensorFlow Lite Micro, apart from us."""
