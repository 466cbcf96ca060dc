"""`Designer`: what is chosen of a model, and the models that are made of it."""

import keras
import keras_tuner as kt
import numpy as np
import pytest

from keras_share import LowRank, SharingPattern
from keras_share.retrofit.share import share
from keras_share.search import SharingDesign
from keras_share.search.compression.candidates import Candidate, Designer
from keras_share.search.compression.sizes import (
    Sizes,
    kernel_channels,
    kernel_numbers,
)


class Given:
    """Originals of one model."""

    def __init__(self, model):
        self.model = model

    def fresh(self, width=None):
        return self.model

    trained = fresh

    def samples(self):
        return np.random.default_rng(1).normal(size=(100, 6, 16)).astype("float32")


def network():
    """Three blocks of attention and two dense layers, and then two convolutions."""
    layers = keras.layers
    x = inputs = keras.Input((6, 16))
    for i in range(3):
        x = layers.Add()([x, layers.MultiHeadAttention(2, 8, name=f"mha_{i}")(x, x)])
        x = layers.Dense(24, activation="relu", name=f"up_{i}")(x)
        x = layers.Dense(16, name=f"down_{i}")(x)
    for i in range(2):
        x = layers.Conv1D(16, 3, padding="same", name=f"conv_{i}")(x)
    return keras.Model(inputs, layers.Dense(2)(x))


@pytest.fixture(scope="module")
def designer():
    keras.utils.set_random_seed(0)
    return Designer(Given(network()), (), ["int8", "int4"])


def test_each_kind_of_block_is_a_choice(designer):
    assert designer.kinds == {"mha_0": 3, "conv_0": 2}
    assert designer.classes == ["all", "MultiHeadAttention", "Dense", "Conv1D"]
    assert designer.ranks == [2, 4, 8]  # the smallest kernel is of 16 x 16
    hp = kt.HyperParameters()
    designer.candidate(hp)
    assert {one.name for one in hp.space if not one.name.endswith(".patterns")} == {
        "quantization",
        "layers",
        "sharing_mha_0",
        "sharing_conv_0",
        "sharing.relax",
        "sharing.rank",
    }


def design(attention, conv, relax=None):
    patterns = {"mha_0": SharingPattern(attention), "conv_0": SharingPattern(conv)}
    return SharingDesign(patterns, relax)


def test_a_candidate_starts_from_the_trained_weights(designer):
    original = designer.originals.model
    x = np.random.default_rng(0).normal(size=(2, 6, 16)).astype("float32")
    plain = designer.build(designer.unshared("int8"))
    np.testing.assert_allclose(plain(x), original(x), atol=1e-5)
    candidate = Candidate(design("AAB", "AA"), "int8")
    shared = designer.build(candidate)
    kernel = shared.get_layer("up_0").kernel
    fitted = share(
        original, designer.groups(candidate), data=designer.originals.samples()
    )
    np.testing.assert_allclose(kernel, fitted.get_layer("up_0").kernel, atol=1e-6)
    [up, one] = [original.get_layer(f"up_{i}").kernel for i in range(2)]
    # Near their mean, and not at it: of either site the inputs count.
    mean = (np.array(up) + np.array(one)) / 2
    assert 0 < np.linalg.norm(kernel - mean) < np.linalg.norm(up - mean)


def test_one_class_of_layers_can_share_alone(designer):
    dense = Candidate(design("AAA", "AA"), "int8", "Dense")
    assert designer.groups(dense) == [
        ["up_0", "up_1", "up_2"],
        ["down_0", "down_1", "down_2"],
    ]
    saved = kernel_numbers(designer.originals.model) - kernel_numbers(
        designer.build(dense)
    )
    assert saved == 2 * 2 * 16 * 24
    assert str(dense) == "mha_0=AAA conv_0=AA of Dense, int8"


def test_it_starts_with_the_model_only_quantized(designer):
    first, twice, everything, other, *_ = designer.starts()
    assert first["sharing_mha_0"] == first["sharing_conv_0"] == "unshared"
    assert first["quantization"] == "int8" and other["quantization"] == "int4"
    assert twice["sharing_mha_0"] == "sequence:2"
    assert everything["sharing_mha_0"] == "shared"


def test_sizes_are_predicted_from_one_file_of_each_sort(designer, tmp_path):
    measured = []

    def measure(model, candidate):
        measured.append(str(candidate))
        bits = {"int8": 8, "int4": 4}[candidate.quantization]
        overhead = 3000 if candidate.design.relax else 1000
        ranges = 4 * kernel_channels(model)
        return overhead + ranges + kernel_numbers(model) * bits // 8

    sizes = Sizes(tmp_path / "sizes.json", measure, "a form")
    for quantization in ("int8", "int4"):
        for candidate in (
            designer.unshared(quantization),
            designer.smallest(quantization),
            Candidate(design("AAB", "AB"), quantization),
            Candidate(design("AAB", "AA", LowRank(2)), quantization),
            Candidate(design("AAA", "AA", LowRank(4)), quantization),
        ):
            model = designer.build(candidate)
            count = len(measured)
            size = sizes.of(model, candidate)
            del measured[count + 1 :]
            assert size == pytest.approx(measure(model, candidate), abs=1)
            measured.pop()
    assert len(measured) == 6  # unshared, shared and of low rank, in two ways
    again = Sizes(tmp_path / "sizes.json", None, "a form")
    assert again.of(designer.build(designer.unshared("int8")), candidate)
    other = Sizes(tmp_path / "sizes.json", lambda *_: 7, "another")
    assert other.of(model, candidate) == 7


def test_sizes_of_other_widths_lie_between_those_of_two(tmp_path):
    def of_width(width):
        layers = [keras.layers.Dense(width, name=f"d{i}") for i in range(3)]
        layers[0].trainable = False  # and is in the file
        return keras.Sequential([keras.Input((width,)), *layers])

    def measure(model, candidate):
        measured.append(candidate.design.width)
        return 900 + 4 * kernel_channels(model) + kernel_numbers(model) + 5 * width

    measured, sizes = [], Sizes(tmp_path / "sizes.json", measure, "a form")
    for width in (32, 8, 16, 24, 8):
        pattern = {"": SharingPattern.get("unshared", 3)}
        one = Candidate(SharingDesign(pattern, None, width), "int8")
        predicted = sizes.of(of_width(width), one)
        assert predicted == 900 + 3 * (4 * width + width**2) + 5 * width
    assert measured == [32, 8]


def test_nothing_to_share_is_an_error():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="nothing can be shared"):
        Designer(Given(model), (), ["int8"])
