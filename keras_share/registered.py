"""All classes that Keras finds by name in a file, imported so that it knows them.

By the modules and not by their packages: this may run while a package is imported.
"""

from keras_share.blocks import (
    conformer,
    separable_conv,
    transformer,
    windowed_attention,
)
from keras_share.layers import (
    embeddings,
    held_weight,
    past_frames,
    recurrent,
    shared_stack,
    tied,
    transposed,
)
from keras_share.layers.relax import affine, basis, low_rank, relaxed, scale, templates
from keras_share.quantize import (
    fake_quantize,
    float_edge,
    inverse_root,
    quantize_weights,
    quantized_model,
    quantized_transposed,
)

__all__ = [
    "affine",
    "basis",
    "conformer",
    "embeddings",
    "fake_quantize",
    "float_edge",
    "held_weight",
    "inverse_root",
    "low_rank",
    "past_frames",
    "quantize_weights",
    "quantized_model",
    "quantized_transposed",
    "recurrent",
    "relaxed",
    "scale",
    "separable_conv",
    "shared_stack",
    "templates",
    "tied",
    "transformer",
    "transposed",
    "windowed_attention",
]
