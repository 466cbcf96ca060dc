"""What sharing less strictly costs in a file."""

import keras
import pytest
from keras import layers
from random_data import randomize, values

from keras_share import (
    Basis,
    LowRank,
    Scale,
    SharedStack,
    StepEmbedding,
    Templates,
    export_tflite,
    quantize_model,
)
from keras_share.blocks import TransformerBlock
from keras_share.quantize import quantization_report

WIDTH, SITES = 32, 3


def sizes(report, least=WIDTH):
    """Bytes and uses of the buffers of at least so many values."""
    found = [b for b in report.buffers if len(b.shape) > 1]
    large = [b for b in found if b.nbytes >= least * (4 if b.dtype == "float32" else 1)]
    return sorted((b.nbytes, b.uses) for b in large)


# Relaxation of Dense(32), and the buffers in the file: values and uses.
CASES = [
    (LowRank(2), [(1024, 3)] + 6 * [(64, 1)]),
    (LowRank(2, diagonal=True), [(1024, 3)] + 6 * [(64, 1)] + 3 * [(32, 1)]),
    (Scale(), [(1024, 3)] + 3 * [(32, 1)]),
    (Templates(2, seed=0), 2 * [(1024, 3)]),
    (Basis(2), [(64, 3)] + 3 * [(64, 1)]),
    (StepEmbedding(), [(1024, 3)]),
    ([StepEmbedding(), Scale(), LowRank(2)], None),
]


@pytest.mark.parametrize(
    "relax, buffers",
    CASES,
    ids=["rank", "diagonal", "scale", "templates", "basis", "step", "several"],
)
@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_a_shared_kernel_is_stored_once(relax, buffers, quantization, tmp_path):
    model = keras.Sequential([keras.Input((WIDTH,))])
    model.add(SharedStack(layers.Dense(WIDTH, "tanh"), "AAA", relax=relax))
    randomize(model)
    report = export_tflite(
        model,
        tmp_path / "model.tflite",
        quantization=quantization,
        representative_dataset=values(16, WIDTH),
    )
    size = 4 if quantization == "float32" else 1
    kernels = [found for found in sizes(report) if found[0] >= 512 * size]
    if buffers is None:
        assert kernels == [(1024 * size, 3)]
    elif isinstance(relax, (LowRank, Basis)):
        assert sizes(report, 64) == sorted(
            (n * size, uses) for n, uses in buffers if n >= 64
        )
    else:
        assert kernels == [(n * size, uses) for n, uses in buffers if n >= 512]


@pytest.mark.parametrize(
    "pattern, relax",
    [("AA", Scale()), ({"attention": "AAB", "feedforward": "ABB"}, LowRank(2))],
    ids=str,
)
def test_a_transformer_by_parts(pattern, relax, tmp_path):
    model = keras.Sequential([keras.Input((5, WIDTH))])
    model.add(SharedStack(TransformerBlock(2, 48, activation="gelu"), pattern,
                          relax=relax))  # fmt: skip
    randomize(model)
    report = export_tflite(model, tmp_path / "model.tflite")
    uses = [2] if pattern == "AA" else [1, 2]
    size = 4 * WIDTH
    kernels = [found for found in sizes(report) if found[0] >= size * WIDTH]
    assert kernels == sorted(
        4 * [(size * WIDTH, n) for n in uses] + 2 * [(size * 48, n) for n in uses]
    )


@pytest.mark.parametrize(
    "relax", [LowRank(2), Scale(), StepEmbedding()], ids=["rank", "scale", "step"]
)
def test_quantization_aware_training_keeps_it(relax, tmp_path):
    model = keras.Sequential([keras.Input((6, 6, 16))])
    convolution = layers.Conv2D(16, 3, padding="same", activation="relu")
    model.add(SharedStack(convolution, "AAA", relax=relax))
    randomize(model)
    x = values(16, 6, 6, 16)
    quantized = quantize_model(model, representative_dataset=x)
    assert not quantization_report(model).float_layers
    report = export_tflite(
        quantized, tmp_path / "model.tflite", representative_dataset=x
    )
    assert (16 * 16 * 9, 3) in sizes(report)
    assert sum(nbytes >= 16 * 16 * 9 for nbytes, _ in sizes(report)) == 1


def test_a_relaxed_convolution(tmp_path):
    model = keras.Sequential([keras.Input((6, 6, 16))])
    convolution = layers.Conv2D(16, 3, strides=1, dilation_rate=2, padding="same")
    block = keras.Sequential([convolution, layers.BatchNormalization(), layers.ReLU()])
    model.add(SharedStack(block, "AAA", relax=[LowRank(2), Scale()]))
    randomize(model)
    report = export_tflite(model, tmp_path / "model.tflite")
    assert (4 * 16 * 16 * 9, 3) in sizes(report)
    assert sum(nbytes >= 4 * 16 * 16 * 9 for nbytes, _ in sizes(report)) == 1
