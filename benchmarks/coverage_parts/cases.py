"""What is tried: each public layer and activation of Keras, with its arguments."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import layers

SEQUENCE, IMAGE, VOLUME = (8, 4), (8, 8, 4), (4, 4, 4, 2)


@dataclass(frozen=True)
class Case:
    """A small model.

    Args:
        make: Makes it: called with the inputs, returns the output.
        shapes: Of each input, without the batch.
        ids: How many ids the inputs are of, if they are no numbers; `"text"` of text.
        jumps: Why a rounding makes much of a difference, if it does.
    """

    make: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] = (SEQUENCE,)
    ids: int | str = 0
    jumps: str = ""

    def model(self) -> keras.Model:
        """The model, with weights that are not those it starts with."""
        keras.utils.set_random_seed(0)
        dtype = {str: "string", int: "int32"}[type(self.ids)] if self.ids else "float32"
        inputs = [
            keras.Input(shape, dtype=dtype, name=f"in_{i}")
            for i, shape in enumerate(self.shapes)
        ]
        model = keras.Model(inputs, self.make(*inputs), name="model")
        rng = np.random.default_rng(0)
        for weight in model.trainable_weights:
            if len(weight.shape) < 2:  # zeros and ones would hide mistakes
                noise = rng.normal(size=weight.shape) * 0.2
                weight.assign(weight + noise.astype("float32"))
        return model

    def repeated(self, model: keras.Model) -> keras.Model | None:
        """A model with this one twice in a row; None if it can't follow itself."""
        if self.ids or len(model.inputs) > 1 or not model.trainable_weights:
            return None
        x = y = keras.Input(self.shapes[0])
        for _ in range(2):
            y = self.make(y)
            if getattr(y, "shape", None) != x.shape:
                return None
        return keras.Model(x, y)

    def samples(self, number: int) -> list[np.ndarray]:
        """Inputs for the model."""
        rng = np.random.default_rng(1)
        shapes = [(number, *shape) for shape in self.shapes]
        if isinstance(self.ids, str):
            return [np.full(shape, "a") for shape in shapes]
        if self.ids:
            return [
                rng.integers(0, self.ids, shape).astype("int32") for shape in shapes
            ]
        return [rng.normal(size=shape).astype("float32") for shape in shapes]


@dataclass(frozen=True)
class Arguments:
    """How a layer is made and called; by default without arguments on a sequence."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    shapes: tuple[tuple[int, ...], ...] = (SEQUENCE,)
    as_list: bool = False
    ids: int | str = 0
    adapts: bool = False


def _of(*args: Any, on: Any = SEQUENCE, more: dict | None = None, **kwargs: Any):
    shapes = on if isinstance(on[0], tuple) else (on,)
    return Arguments(args, kwargs, shapes, **(more or {}))


_PAIR = {"as_list": True}
_QUERIES = {"more": _PAIR, "on": (SEQUENCE, (6, 4))}
_MERGED = {"more": _PAIR, "on": (SEQUENCE, SEQUENCE)}
_IDS = {"more": {"ids": 10}, "on": (8,)}
_TEXT = {"more": {"ids": "text"}, "on": (8,)}
_POOLS = {
    f"{kind}{rank}D": _of(2, on=on)
    for kind in ("AveragePooling", "MaxPooling", "AdaptiveAveragePooling")
    for rank, on in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
}
_GLOBAL = {
    f"{kind}{rank}D": _of(*args, on=on)
    for kind, args in {
        "GlobalAveragePooling": (),
        "GlobalMaxPooling": (),
        "AdaptiveMaxPooling": (2,),
        "Cropping": (1,),
        "ZeroPadding": (1,),
        "UpSampling": (2,),
        "SpatialDropout": (0.5,),
        "ConvLSTM": (2, 3),
        "Conv": (4, 3),
    }.items()
    for rank, on in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
}
_CONVOLUTIONS = {
    f"{kind}{rank}D{end}": _of(*args, on=on)
    for kind, end, args in (
        ("Conv", "Transpose", (4, 3)),
        ("DepthwiseConv", "", (3,)),
        ("SeparableConv", "", (4, 3)),
    )
    for rank, on in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
}

# Constructor and shapes where the layer has no arguments to go without, or needs an
# input of another kind. Each public layer that is not here is made without arguments.
ARGUMENTS: dict[str, Arguments] = {
    **_POOLS,
    **_GLOBAL,
    **_CONVOLUTIONS,
    **{f"ConvLSTM{r}D": _of(2, 3, on=(3, *(4,) * r, 2)) for r in (1, 2, 3)},
    **{
        name: _of(**_MERGED)
        for name in ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply")
    },
    "Subtract": _of(**_MERGED),
    "Dot": _of(axes=2, **_MERGED),
    "Attention": _of(**_QUERIES),
    "AdditiveAttention": _of(**_QUERIES),
    "MultiHeadAttention": _of(2, 4, on=(SEQUENCE, (6, 4))),
    "GroupQueryAttention": _of(4, 2, 1, on=(SEQUENCE, (6, 4))),
    "Activation": _of("relu"),
    "ActivityRegularization": _of(0.01),
    "AlphaDropout": _of(0.5),
    "Dropout": _of(0.5),
    "GaussianDropout": _of(0.5),
    "GaussianNoise": _of(0.5),
    "Bidirectional": lambda: _of(layers.LSTM(3)),
    "CategoryEncoding": _of(10, **_IDS),
    "CenterCrop": _of(4, 4, on=IMAGE),
    "RandomCrop": _of(4, 4, on=IMAGE),
    "Resizing": _of(12, 12, on=IMAGE),
    "Dense": _of(5),
    "Discretization": _of(bin_boundaries=[-0.5, 0.0, 0.5]),
    "EinsumDense": _of("abc,cd->abd", output_shape=(None, 6), bias_axes="d"),
    "Embedding": _of(10, 4, **_IDS),
    "ReversibleEmbedding": _of(10, 4, **_IDS),
    "Masking": _of(),
    "GRU": _of(3),
    "LSTM": _of(3),
    "SimpleRNN": _of(3),
    "RNN": lambda: _of(layers.LSTMCell(3)),
    "StackedRNNCells": lambda: _of([layers.LSTMCell(3), layers.GRUCell(3)]),
    "GRUCell": _of(4),
    "LSTMCell": _of(4),
    "SimpleRNNCell": _of(4),
    "GroupNormalization": _of(2),
    "HashedCrossing": _of(8, more={"ids": 10, "as_list": True}, on=((1,), (1,))),
    "Hashing": _of(8, **_IDS),
    "IntegerLookup": _of(vocabulary=list(range(8)), **_IDS),
    "StringLookup": _of(vocabulary=["a", "b"], **_TEXT),
    "TextVectorization": _of(vocabulary=["a", "b"], more={"ids": "text"}, on=(1,)),
    "Lambda": lambda: _of(lambda x: x * 2.0 + 1.0),
    "MelSpectrogram": _of(num_mel_bins=8, fft_length=64, sequence_stride=32, on=(256,)),
    "STFTSpectrogram": _of(frame_length=32, frame_step=16, fft_length=32, on=(128, 1)),
    "Normalization": _of(more={"adapts": True}),
    "Permute": _of((2, 1)),
    "Pipeline": lambda: _of([layers.Rescaling(2.0), layers.ReLU()]),
    "RepeatVector": _of(3, on=(4,)),
    "Rescaling": _of(0.5, 1.0),
    "Reshape": _of((4, 8)),
    "SpectralNormalization": lambda: _of(layers.Dense(5)),
    "TimeDistributed": lambda: _of(layers.Dense(5)),
    "BatchNormalization": _of(more={"adapts": True}),
    "Wrapper": lambda: _of(layers.Dense(5)),
    "FlaxLayer": _of(None),
    "JaxLayer": _of(None),
    "TFSMLayer": _of("folder"),
    "TorchModuleWrapper": _of(None),
    "Softmax": _of(),
    "PReLU": _of(),
}
_ON_IMAGES = (
    *("AugMix", "AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization"),
    *("CutMix", "Equalization", "MaxNumBoundingBoxes", "MixUp", "RandAugment"),
    "Solarization",
)
_AUGMENTATIONS: dict[str, tuple] = {
    "MaxNumBoundingBoxes": (4,),
    "RandomBrightness": (0.2,),
    "RandomColorDegeneration": (0.2,),
    "RandomContrast": (0.2,),
    "RandomHue": (0.2,),
    "RandomPosterization": (4,),
    "RandomRotation": (0.2,),
    "RandomSaturation": (0.2,),
    "RandomSharpness": (0.2,),
    "RandomTranslation": (0.2, 0.2),
    "RandomZoom": (0.2,),
}
_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "threshold": lambda x: keras.activations.threshold(x, 0.3, 0.1),
}
_JUMPS = {
    "sparsemax": "Keras's sparsemax jumps where a number comes in, and its outputs "
    "then don't sum to 1"
}
_TABLES = ("Embedding", "ReversibleEmbedding")
_CELLS = ("GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells")


def arguments_of(name: str) -> Arguments:
    """How a layer of this name is made."""
    if name in ARGUMENTS:
        found = ARGUMENTS[name]
        return found() if callable(found) else found
    if name.startswith("Random") or name in _ON_IMAGES:
        ranges = ("RandomHue", "RandomColorJitter")
        settings = {"value_range": (0, 1)} if name in ranges else {}
        return _of(*_AUGMENTATIONS.get(name, ()), on=(8, 8, 3), **settings)
    return _of()


def layer_case(name: str) -> Case:
    """The case of a public layer."""
    found = arguments_of(name)

    def make(*inputs: Any) -> Any:
        if name == "InputLayer":  # which keras.Input makes
            return inputs[0]
        layer = getattr(layers, name)(*found.args, **found.kwargs)
        if name in _CELLS:
            layer = layers.RNN(layer)
        outputs = layer(list(inputs)) if found.as_list else layer(*inputs)
        if found.adapts:
            rng = np.random.default_rng(2)
            for weight in layer.non_trainable_weights:
                if "float" in weight.dtype and weight.shape:
                    weight.assign(np.exp(rng.normal(size=weight.shape) * 0.3))
            if hasattr(layer, "finalize_state"):
                layer.finalize_state()
        # Of rows that nothing computes with, nobody asks for integers.
        return layers.Dense(3)(outputs) if name in _TABLES else outputs

    return Case(make, found.shapes, found.ids)


def activation_case(name: str) -> Case:
    """The case of a public activation: of a Dense layer, which has a few outputs."""
    function = _ACTIVATIONS.get(name) or getattr(keras.activations, name)
    if name == "glu":  # it halves the channels, which a layer doesn't know
        return Case(lambda x: layers.Dense(4)(function(layers.Dense(6)(x))))
    return Case(
        lambda x: layers.Dense(4)(layers.Dense(6, activation=function)(x)),
        jumps=_JUMPS.get(name, ""),
    )


def public_layers() -> list[str]:
    """The names of all public layers, each once: the last of those it has."""
    names: dict[type, str] = {}
    for name in dir(layers):
        kind = getattr(layers, name)
        is_layer = isinstance(kind, type) and issubclass(kind, keras.Layer)
        if is_layer and names.get(kind) != kind.__name__:
            names[kind] = name
    return sorted(names.values())


def public_activations() -> list[str]:
    """The names of all public activations."""
    known = dir(keras.activations)
    others = ("deserialize", "get", "serialize")
    return [name for name in known if name[0].islower() and name not in others]
