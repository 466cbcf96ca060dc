"""What a `.tflite` file stores, what it costs, and whether its weights are tied."""
