"""Models of keras.applications and KerasHub, as small as they get."""

from typing import Any

import keras

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
        return _application(name, _APPLICATIONS[name])
    return _backbone(name)


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


def _application(name: str, size: int) -> Case:
    function = getattr(keras.applications, name)
    shape = (size, size, 3)

    def make(x: Any) -> Any:
        model = function(weights=None, input_shape=shape, classes=10, input_tensor=x)
        return model.output

    return Case(make, (shape,))


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
    "ViTBackbone": {
        "image_shape": (16, 16, 3),
        "patch_size": 8,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 16,
        "mlp_dim": 32,
    },
}


def _backbone(name: str) -> Case:
    return _Backbone(name)


class _Backbone(Case):
    """A backbone, whose inputs are a dict."""

    def __init__(self, name: str):
        super().__init__(make=_no_inputs)
        object.__setattr__(self, "name", name)

    def model(self) -> keras.Model:
        import keras_hub

        keras.utils.set_random_seed(0)
        return getattr(keras_hub.models, self.name)(**_HUB[self.name])


def _no_inputs(*_: Any) -> Any:
    raise NotImplementedError
