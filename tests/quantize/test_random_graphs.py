"""Random graphs of the covered layers: quantize, export, run.

`RANDOM_GRAPHS=100 pytest tests/quantize/test_random_graphs.py` tries more of them.
"""

import os
from collections import Counter

import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import values

from keras_share import SharedStack, export_tflite, predict_tflite, quantize_model
from keras_share.blocks import SeparableConvBlock, TransformerBlock
from keras_share.layers.sublayers import sublayers
from keras_share.quantize import QuantizeWeights, quantization_report
from keras_share.quantize.rules import find_rule
from keras_share.tflite.file import flatbuffer

NUM_GRAPHS = int(os.environ.get("RANDOM_GRAPHS", "8"))
WIDTH = 8
# How far the file may be from the simulated model, in steps of the output: where their
# sums differ in the last bit, one rounds up and the other down, and layers of random
# weights behind it make more of such a step. Most graphs stay below 4.
MOST_STEPS, MEAN_STEPS = 16, 4

ACTIVATIONS = (
    "relu",
    "relu6",
    "gelu",
    "silu",
    "hard_silu",
    "sigmoid",
    "tanh",
    "leaky_relu",
    "hard_sigmoid",
)
PATTERNS = ("AA", "ABA", "AAB", "ABAB", "AAAA")


class Graphs:
    """Draws a graph step by step.

    Args:
        seed: Of all choices.
    """

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.steps: list[str] = []
        self.seen: list[keras.KerasTensor] = []

    def model(self) -> keras.Model:
        """A model whose outputs are not the same for all samples."""
        while True:
            model = self.any_model()
            outputs = ops.convert_to_numpy(model(values(16, *model.input.shape[1:])))
            if np.all(outputs.std(axis=0) > 0.05 * np.abs(outputs).max(axis=0)):
                return model

    def any_model(self) -> keras.Model:
        """A model with outputs of rank 2, its weights drawn."""
        self.steps, self.seen = [], []
        shape = ((8, WIDTH), (6, 6, WIDTH))[self.rng.integers(2)]
        inputs = x = keras.Input(shape)
        for _ in range(self.rng.integers(5, 16)):
            x = self.step(x)
        model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
        for weight in model.weights:
            weight.assign(self.weight(weight))
        return model

    def weight(self, weight):
        """Values that keep the size of what a layer is given, gammas of either sign."""
        shape, noise = weight.shape, self.rng.normal(size=weight.shape)
        if "variance" in weight.path:
            return np.exp(noise * 0.3)
        if weight.name in ("gamma", "scale"):
            return np.exp(noise * 0.3) * self.rng.choice([-1, 1], shape)
        if len(shape) < 2:
            return noise * 0.2
        depthwise = len(shape) > 2 and "depthwise" in weight.path
        inputs = np.prod(shape[:-2] if depthwise else shape[:-1])
        if "attention" in weight.path:
            inputs = WIDTH
        return noise * np.sqrt(1.5 / inputs)

    def step(self, x):
        known = ANY + (SEQUENCES if len(x.shape) == 3 else IMAGES)
        step = known[self.rng.integers(len(known))]
        self.steps.append(step.__name__)
        self.seen.append(x)
        return step(self, x)

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def activation(self):
        return self.pick(None, *ACTIVATIONS)

    def pattern(self):
        return self.pick(*PATTERNS)


def dense(draw, x):
    return layers.Dense(WIDTH, draw.activation())(x)


def activation(draw, x):
    return layers.Activation(draw.pick(*ACTIVATIONS))(x)


def normalization(draw, x):
    kind = draw.pick(
        layers.BatchNormalization,
        layers.LayerNormalization,
        layers.RMSNormalization,
        lambda: layers.GroupNormalization(2),
    )
    return kind()(x)


def residual(draw, x):
    return x + layers.Dense(WIDTH, draw.activation())(x)


def difference(draw, x):
    return layers.Dense(WIDTH)(x) - x


def from_before(draw, x):
    return x + draw.pick(*(y for y in draw.seen if y.shape == x.shape))


def gate(draw, x):
    return x * layers.Dense(WIDTH, draw.pick("sigmoid", "hard_sigmoid"))(x)


def both(draw, x):
    y = layers.Concatenate()([x, layers.Dense(WIDTH)(x)])
    return layers.Dense(WIDTH, draw.activation())(y)


def extreme(draw, x):
    y = layers.Dense(WIDTH)(x)
    return draw.pick(ops.maximum, ops.minimum)(x, y)


def function(draw, x):
    functions = (ops.square, ops.negative, ops.absolute, lambda y: ops.clip(y, -1, 2))
    return draw.pick(*functions)(x)


def dropout(draw, x):
    return layers.Dropout(0.5)(x)


def tied_dense(draw, x):
    return SharedStack(layers.Dense(WIDTH, draw.activation()), draw.pattern(), "bias")(
        x
    )


def tied_normalized(draw, x):
    """With private normalizations behind tied kernels, gammas of either sign."""
    block = keras.Sequential(
        [
            layers.Dense(WIDTH, use_bias=False),
            layers.BatchNormalization(),
            layers.Activation(draw.pick("relu", "silu", "tanh")),
        ]
    )
    return SharedStack(block, draw.pattern())(x)


def convolution(draw, x):
    kind = draw.pick(layers.Conv1D, layers.SeparableConv1D)
    return kind(WIDTH, 3, padding="same", activation=draw.activation())(x)


def depthwise(draw, x):
    return layers.DepthwiseConv1D(3, padding="same", activation=draw.activation())(x)


def causal(draw, x):
    return layers.Conv1D(WIDTH, 2, padding="causal", activation=draw.activation())(x)


def pool(draw, x):
    if x.shape[1] < 4:
        return x
    return draw.pick(layers.AveragePooling1D, layers.MaxPooling1D)(2)(x)


def longer(draw, x):
    if x.shape[1] > 8:
        return x
    return draw.pick(layers.UpSampling1D(2), layers.ZeroPadding1D(1))(x)


def attention(draw, x):
    call = {"use_causal_mask": draw.pick(True, False)}
    layer = draw.pick(
        layers.MultiHeadAttention(2, 4), layers.GroupQueryAttention(4, 4, 2)
    )
    return x + layer(x, x, **call)


def tied_transformer(draw, x):
    first = draw.pick(True, False)
    block = TransformerBlock(2, 12, activation="gelu", normalize_first=first)
    return SharedStack(block, draw.pick("AA", "ABA"))(x)


def image(draw, x):
    return layers.Reshape((x.shape[1], 1, WIDTH))(x)


def convolution_2d(draw, x):
    kind = draw.pick(layers.Conv2D, layers.SeparableConv2D, layers.Conv2DTranspose)
    return kind(WIDTH, 3, padding="same", activation=draw.activation())(x)


def depthwise_2d(draw, x):
    return layers.DepthwiseConv2D(3, padding="same", activation=draw.activation())(x)


def normalized_2d(draw, x):
    x = layers.Conv2D(WIDTH, 3, padding="same", use_bias=False)(x)
    return layers.ReLU(draw.pick(None, 6))(layers.BatchNormalization()(x))


def pool_2d(draw, x):
    if min(x.shape[1:3]) < 4:
        return x
    return draw.pick(layers.AveragePooling2D, layers.MaxPooling2D)(2)(x)


def larger_2d(draw, x):
    if max(x.shape[1:3]) > 6:
        return x
    return draw.pick(layers.UpSampling2D(2), layers.ZeroPadding2D(1))(x)


def squeeze_and_excite(draw, x):
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return x * layers.Dense(WIDTH, "sigmoid")(y)


def tied_separable(draw, x):
    return SharedStack(SeparableConvBlock(3), draw.pattern())(x)


def sequence(draw, x):
    return layers.Reshape((-1, WIDTH))(x)


ANY = (
    dense,
    activation,
    normalization,
    residual,
    difference,
    from_before,
    gate,
    both,
    extreme,
    function,
    dropout,
    tied_dense,
    tied_normalized,
)
SEQUENCES = (
    convolution,
    depthwise,
    causal,
    pool,
    longer,
    attention,
    tied_transformer,
    image,
)
IMAGES = (
    convolution_2d,
    depthwise_2d,
    normalized_2d,
    pool_2d,
    larger_2d,
    squeeze_and_excite,
    tied_separable,
    sequence,
)


@pytest.mark.parametrize("seed", range(NUM_GRAPHS), ids=lambda n: f"graph {n}")
def test_random_graph(seed, tmp_path):
    draw = Graphs(seed)
    model = draw.model()
    x = values(16, *model.inputs[0].shape[1:], seed=seed)
    assert not quantization_report(model).float_layers, draw.steps
    ranges = draw.pick("site", "group")
    quantized = quantize_model(model, x, ranges=ranges, strict=True)
    path = tmp_path / "model.tflite"
    report = export_tflite(quantized, path, representative_dataset=x)
    assert not report.float_operators, draw.steps
    assert report.duplicate_bytes == 0, draw.steps
    file = flatbuffer.read(path)
    in_file = Counter(_signature(_integers(file, b)) for b in report.buffers)
    for layer in sublayers(quantized):
        if isinstance(layer, QuantizeWeights):
            assert in_file[_signature(_simulated(layer))] == 1, (layer.name, draw.steps)

    simulated = ops.convert_to_numpy(quantized(x, training=False))
    outputs = predict_tflite(path, x)
    assert np.isfinite(outputs).all(), draw.steps
    steps = np.abs(outputs - simulated) / _output_scale(file)
    print(f"{steps.max():.1f} {steps.mean():.2f} steps, {len(np.unique(simulated))}")
    assert steps.max() <= MOST_STEPS and steps.mean() <= MEAN_STEPS, draw.steps


def _integers(file, buffer):
    data = flatbuffer.buffer_bytes(file, buffer.index)
    return np.frombuffer(data, "int8") if buffer.dtype == "int8" else np.zeros(0)


def _simulated(layer):
    """The integers that a layer's kernel is rounded to."""
    [name] = layer.kernels()
    kernel = ops.convert_to_numpy(layer.quantized(name))
    axes = [a % kernel.ndim for a in find_rule(layer.layer).channel_axes(layer.layer)]
    others = tuple(a for a in range(kernel.ndim) if a not in axes)
    return np.round(kernel / np.abs(kernel).max(others, keepdims=True) * 127)


def _signature(integers):
    """Equal for two layouts, and for channels whose sign a normalization turns."""
    return np.sort(np.abs(integers.astype("int16")).flatten()).tobytes()


def _output_scale(file):
    [graph] = file.subgraphs
    [output] = graph.outputs
    [last] = [op for op in graph.operators if output in op.outputs]
    [scale] = graph.tensors[last.inputs[0]].quantization.scale
    return scale
