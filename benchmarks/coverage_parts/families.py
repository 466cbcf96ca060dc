"""Models of keras.applications and KerasHub, as small as they get."""

from typing import Any

import keras
import numpy as np

from coverage_parts.cases import (
    Case,
    activation_case,
    layer_case,
    public_activations,
    public_layers,
)

LAYERS, ACTIVATIONS, APPLICATIONS, HUB = "layers", "activations", "applications", "hub"


def names_of(kind: str) -> list[str]:
    """The names of all cases of a kind, which begin with it and a dot."""
    if kind == LAYERS:
        names = public_layers()
    elif kind == ACTIVATIONS:
        names = public_activations()
    else:
        names = list(_APPLICATIONS if kind == APPLICATIONS else _HUB)
    return [f"{kind}.{name}" for name in names]


def find_case(name: str) -> Case:
    """The case of a name."""
    kind, name = name.split(".", 1)
    if kind == LAYERS:
        return layer_case(name)
    if kind == ACTIVATIONS:
        return activation_case(name)
    if kind == APPLICATIONS:
        return _Application(name, _APPLICATIONS[name])
    return _Backbone(name)


# One of each family: the smallest that it has.
_APPLICATIONS = {
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "NASNetMobile": 32,
    "DenseNet121": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "ConvNeXtTiny": 32,
    "VGG16": 32,
    "VGG19": 32,
    "Xception": 71,
    "InceptionV3": 75,
    "InceptionResNetV2": 75,
}


_FADES = {
    "NASNetMobile": "769 layers that nobody trained round one after another; "
    "TensorFlow's own int8 loses as much (benchmarks/application_files.py)",
    "ViTBackbone": "its class token, untrained, is next to nothing beside the patches "
    "whose range it has, and a normalization enlarges it",
}


class _Application(Case):
    """A model of keras.applications."""

    def __init__(self, name: str, size: int):
        super().__init__(_no_layer, ((size, size, 3),), jumps=_FADES.get(name, ""))
        object.__setattr__(self, "name", name)

    def model(self) -> keras.Model:
        keras.utils.set_random_seed(0)
        function = getattr(keras.applications, self.name)
        return function(weights=None, input_shape=self.shapes[0], classes=10)

    def repeated(self, model: keras.Model) -> keras.Model:
        return model


_TEXT = {
    "vocabulary_size": 30,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
    "max_sequence_length": 8,
}
_DECODER = {
    "vocabulary_size": 30,
    "num_layers": 2,
    "num_query_heads": 2,
    "num_key_value_heads": 1,
    "hidden_dim": 16,
    "intermediate_dim": 32,
}
_FREE = {k: v for k, v in _TEXT.items() if k != "max_sequence_length"}
# How a backbone is made small.
_HUB: dict[str, dict[str, Any]] = {
    "BertBackbone": _TEXT,
    "DistilBertBackbone": _TEXT,
    "RobertaBackbone": _TEXT,
    "AlbertBackbone": {**_TEXT, "embedding_dim": 8},
    "DebertaV3Backbone": {**_TEXT, "bucket_size": 4},
    "GPT2Backbone": _TEXT,
    "OPTBackbone": _TEXT,
    "GemmaBackbone": {**_DECODER, "head_dim": 8, "intermediate_dim": 32},
    "LlamaBackbone": _DECODER,
    "T5Backbone": _FREE,
    "WhisperBackbone": {
        **_FREE,
        "max_encoder_sequence_length": 16,
        "max_decoder_sequence_length": 8,
    },
    "BartBackbone": _TEXT,
    "BloomBackbone": _FREE,
    "ESM2Backbone": _FREE,
    "MistralBackbone": {**_DECODER, "sliding_window": 4},
    "Phi3Backbone": _DECODER,
    "Qwen3Backbone": {**_DECODER, "head_dim": 8},
    "SwinTransformerBackbone": {
        "image_shape": (32, 32, 3),
        "patch_size": 4,
        "embed_dim": 8,
        "depths": [2],
        "num_heads": [2],
        "window_size": 4,
        "mlp_ratio": 2.0,
    },
    "ViTDetBackbone": {
        "image_shape": (32, 32, 3),
        "hidden_size": 16,
        "num_layers": 2,
        "num_heads": 2,
        "intermediate_dim": 32,
        "global_attention_layer_indices": [1],
        "patch_size": 8,
        "num_output_channels": 8,
        "window_size": 2,
    },
    "ViTBackbone": {
        "image_shape": (16, 16, 3),
        "patch_size": 8,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 16,
        "mlp_dim": 32,
    },
}


class _Backbone(Case):
    """A backbone of KerasHub, for inputs of a known length."""

    def __init__(self, name: str):
        super().__init__(_no_layer, jumps=_FADES.get(name, ""))
        object.__setattr__(self, "name", name)

    def model(self) -> keras.Model:
        import keras_hub

        keras.utils.set_random_seed(0)
        backbone = getattr(keras_hub.models, self.name)(**_HUB[self.name])
        inputs = keras.tree.map_structure(_known, backbone.input)
        return keras.Model(keras.tree.flatten(inputs), backbone(inputs), name="model")

    def repeated(self, model: keras.Model) -> keras.Model:
        return model

    def samples(self, number: int) -> list[np.ndarray]:
        rng = np.random.default_rng(1)
        arrays = []
        for x in self.model().inputs:
            shape = (number, *x.shape[1:])
            if "mask" in x.name:
                arrays.append(np.ones(shape, x.dtype))
            elif "int" in x.dtype:
                most = 2 if "segment" in x.name else 30
                arrays.append(rng.integers(0, most, shape).astype(x.dtype))
            else:
                arrays.append(rng.normal(size=shape).astype(x.dtype))
        return arrays


def _known(x: keras.KerasTensor) -> keras.KerasTensor:
    sizes = [8 if size is None else size for size in x.shape[1:]]
    return keras.Input(sizes, dtype=x.dtype, name=x.name)


def _no_layer(*_: Any) -> Any:
    raise NotImplementedError("a whole model is no layer")
