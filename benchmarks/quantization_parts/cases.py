"""The networks whose accuracy is compared, and how they are trained."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers
from keyword_parts.network import build_network

import keras_share as ks
from quantization_parts.data import NUM_MELS


@dataclass(frozen=True)
class Training:
    """How a network is trained, then tuned with quantization.

    Args:
        epochs: Of the float network.
        rate: Learning rate at first, which falls to zero.
        tuning_epochs: Of training with quantization.
        tuning_rate: Learning rate of that.
        batch_size: Samples per step.
    """

    epochs: int
    rate: float
    tuning_epochs: int
    tuning_rate: float
    batch_size: int = 64


@dataclass(frozen=True)
class Case:
    """A network that shares weights, and the nearest that TFMOT accepts.

    Args:
        data: `"digits"` or `"spoken"`.
        network: What it is called.
        build: Makes the network for the shape of a sample.
        training: How both are trained.
        untied: Name of the network in `quantization_parts.untied`.
        shape: Shape in which it takes a sample; -1 once for what is left.
        settings: Its other keyword arguments.
    """

    data: str
    network: str
    build: Callable[[tuple[int, ...]], keras.Model]
    training: Training
    untied: str
    shape: tuple[int, ...]
    settings: dict[str, Any] = field(default_factory=dict)


def digits_separable(shape: tuple[int, ...]) -> keras.Model:
    """Four separable blocks in two groups, each with a normalization of its own."""
    inputs = keras.Input(shape)
    x = layers.Reshape((*shape, 1))(inputs)
    x = layers.Conv2D(32, 3, padding="same", use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.ReLU()(x)
    x = ks.SharedStack(lambda: ks.blocks.SeparableConvBlock(3, momentum=0.9), "ABAB")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, name="head")(x))


def digits_transformer(shape: tuple[int, ...]) -> keras.Model:
    """Four transformer blocks that share; the rows of an image are the tokens."""
    inputs = keras.Input(shape)
    x = layers.Conv1D(32, 3, padding="same", name="stem")(inputs)
    x = ks.SharedStack(
        lambda: ks.blocks.TransformerBlock(4, 64, activation="relu"), "AAAA"
    )(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(10, name="head")(x))


def spoken(kind: str, width: int, pattern: str) -> Callable:
    """The network of the keyword spotting example."""

    def build(shape: tuple[int, ...]) -> keras.Model:
        return build_network(
            shape, 10, ks.SharingPattern.get(pattern), kind=kind, width=width
        )

    return build


CASES = [
    Case(
        "digits",
        "separable",
        digits_separable,
        Training(25, 4e-3, 6, 3e-4),
        "separable",
        (8, 8, 1),
        {"width": 32, "num_sites": 4},
    ),
    Case(
        "digits",
        "transformer",
        digits_transformer,
        Training(40, 2e-3, 6, 2e-4),
        "attention",
        (8, 8),
        {"width": 32},
    ),
    Case(
        "spoken",
        "separable",
        spoken("separable", 48, "ABAB"),
        Training(10, 4e-3, 2, 3e-4),
        "separable",
        (-1, 1, NUM_MELS),
        {
            "width": 48,
            "num_sites": 4,
            "stem": (5, 1),
            "strides": (2, 1),
            "kernel": (7, 1),
            "dropout": 0.1,
        },
    ),
    Case(
        "spoken",
        "conformer",
        spoken("conformer", 48, "AA"),
        Training(10, 2e-3, 2, 2e-4),
        "attention",
        (-1, NUM_MELS),
        {"width": 48},
    ),
]
