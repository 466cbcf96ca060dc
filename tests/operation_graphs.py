"""Random little graphs of mixed operations, many as the outputs of one model."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from random_data import values

SHAPE = (4, 6, 4)


class OperationGraphs:
    """Draws graphs over an image and a mask of its rows, and what of them to skip.

    Args:
        seed: Of all choices.
        numbers: The numbers of the graphs that the model has, each with an output of
            its own.
    """

    def __init__(self, seed: int, numbers: Iterable[int]):
        self.skip: list[str] = []
        self.graphs: list[list[str]] = []
        inputs, outputs = zip(*(self._graph(seed, i) for i in numbers), strict=True)
        self.model = keras.Model(keras.tree.flatten(inputs), outputs)
        self.rng = np.random.default_rng(seed)
        for weight in self.model.weights:
            weight.assign(self._values(weight))
        long = np.arange(SHAPE[0]) < self.rng.integers(1, SHAPE[0] + 1, (48, 1))
        self.x = [values(48, *SHAPE, seed=seed), long.astype("float32")] * len(outputs)

    def _graph(self, seed: int, number: int) -> Any:
        self.rng = np.random.default_rng([seed, number])
        # Inputs of its own: what several graphs compute becomes one in the file.
        image = x = keras.Input(SHAPE, name=f"image_{number}")
        self.rows = keras.Input(SHAPE[:1], name=f"rows_{number}")
        self.seen = [x]
        self.graphs.append([])
        for place in range(self.rng.integers(2, 7)):
            operation = self.pick(*OPERATIONS)
            self.graphs[-1].append(operation.__name__)
            self.name = f"{operation.__name__}_{number}_{place}"
            x = operation(self, x)
            self.seen.append(x)
        return [image, self.rows], layers.Dense(3, name=f"end_{number}")(x)

    def _values(self, weight: keras.Variable) -> Any:
        noise = self.rng.normal(size=weight.shape)
        if "variance" in weight.path:
            return np.exp(noise * 0.3)
        if len(weight.shape) < 2 or weight.name == "alpha":
            return noise * 0.3
        return noise / np.sqrt(np.prod(weight.shape[:-1]))

    def pick(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def layer(self, kind: Callable[..., keras.Layer], *args: Any, **kwargs: Any):
        """A layer that may be skipped."""
        if self.rng.random() < 0.3:
            self.skip.append(self.name)
        return kind(*args, **kwargs, name=self.name)

    def other(self) -> Any:
        return self.pick(*self.seen)


def kernel(draw, x):
    activation = draw.pick(None, "relu", "tanh", "elu")
    kind, *args = draw.pick(
        (layers.Dense, 4), (layers.Conv2D, 4, 3), (layers.DepthwiseConv2D, 3)
    )
    more = {} if kind is layers.Dense else {"padding": "same"}
    return draw.layer(kind, *args, activation=activation, **more)(x)


def normalization(draw, x):
    kinds = layers.BatchNormalization, layers.LayerNormalization, layers.PReLU
    return draw.layer(draw.pick(*kinds))(x)


def activation(draw, x):
    names = (
        *("relu", "relu6", "tanh", "sigmoid", "softmax", "softplus", "silu"),
        *("leaky_relu", "elu", "hard_sigmoid", "gelu"),
    )
    return draw.layer(layers.Activation, draw.pick(*names))(x)


def merged(draw, x):
    kinds = layers.Add, layers.Multiply, layers.Subtract, layers.Maximum
    return draw.layer(draw.pick(*kinds))([x, draw.other()])


def joined(draw, x):
    x = draw.layer(layers.Concatenate)([x, draw.other()])
    return layers.Dense(4)(x)


def pooled(draw, x):
    kind = draw.pick(layers.AveragePooling2D, layers.MaxPooling2D)
    return layers.UpSampling2D(2)(draw.layer(kind, 2)(x))


def function(draw, x):
    return draw.pick(
        ops.abs,
        ops.square,
        ops.negative,
        lambda x: ops.exp(ops.tanh(x)),
        lambda x: ops.log(ops.square(x) + 0.1),
        lambda x: ops.log(ops.softmax(x) + 1e-6),
        lambda x: ops.log1p(ops.relu(x)),
        lambda x: ops.sqrt(ops.abs(x)),
        lambda x: ops.rsqrt(ops.square(x) + 0.1),
        lambda x: ops.reciprocal(ops.abs(x) + 0.1),
        ops.sin,
        lambda x: ops.clip(x, -1.0, 0.5),
    )(x)


def division(draw, x):
    y = draw.other()
    return draw.pick(
        lambda: x / (ops.abs(y) + 0.05),
        lambda: x / (ops.sigmoid(y) + 1.0),
        lambda: x / ops.maximum(ops.sum(ops.relu(y), axis=-1, keepdims=True), 0.1),
        lambda: x / ops.exp(ops.tanh(y)),
        lambda: x / (ops.sqrt(ops.sum(x * x, axis=-1, keepdims=True)) + 1e-3),
        lambda: 1.0 / (1.0 + ops.abs(x)),
    )()


def masked(draw, x):
    rows = ops.reshape(draw.rows, (-1, SHAPE[0], 1, 1))
    count = ops.sum(draw.rows, axis=1)
    count = ops.reshape(draw.pick(count, ops.maximum(count, 1.0)), (-1, 1, 1, 1))
    return draw.pick(
        lambda: x * rows,
        lambda: x - ops.sum(x * rows, axis=1, keepdims=True) / count,
        lambda: ops.where(rows > 0.5, x, 0.0),
        lambda: ops.where(x > 0.2, x, draw.other()),
    )()


def reduction(draw, x):
    axis = draw.pick(1, 2, 3, -1, (1, 2))
    reduce = draw.pick(ops.mean, ops.sum, ops.max, ops.min)
    return draw.pick(ops.add, ops.subtract)(x, reduce(x, axis=axis, keepdims=True))


def moved(draw, x):
    return draw.pick(
        lambda: ops.reshape(ops.reshape(x, (-1, 24, 4)), (-1, *SHAPE)),
        lambda: ops.transpose(ops.transpose(x, (0, 3, 2, 1)), (0, 3, 2, 1)) + x,
        lambda: ops.pad(x[:, 1:], [[0, 0], [1, 0], [0, 0], [0, 0]]),
        lambda: ops.flip(x, axis=2),
    )()


OPERATIONS = (
    *(kernel, normalization, activation, activation, merged, joined, pooled),
    *(function, function, division, division, masked, reduction, moved),
)
