"""The runtimes in which a file can be run, as `benchmark` calls them."""

MODES = {
    "interpreter": "LiteRT's Interpreter with its default delegate, XNNPACK",
    "reference": "LiteRT's Interpreter with its reference kernels; slow",
    "compiled": "LiteRT's CompiledModel on the CPU",
    "compiled_cache": "the same with XNNPACK's cache of weights, in memory",
    "micro": "TensorFlow Lite Micro, of the package tflite-micro",
}
