"""What a quantized model rounds, and where it goes over to floats, is in its file."""

import keras
import pytest
from stock import model_of, operator, tensor

from keras_share.export.decisions import check_decisions
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.float_edge import ENTER, LEAVE, FloatEdge


@pytest.fixture(scope="module")
def decided():
    x = keras.Input((4,))
    model = keras.Model(x, FloatEdge(ENTER, name="part")(FakeQuantize(name="sum")(x)))
    model.get_layer("sum").min.assign(-1.0)
    model.get_layer("sum").max.assign(1.55)
    return model


def converted(scale, name):
    rounded = tensor([1, 4], "int8", scale=[scale], zeroPoint=[0])
    edge = operator("CUSTOM", [0], [1])
    file = model_of(([rounded, tensor([1, 4])], [edge]))
    file.operatorCodes[edge.opcodeIndex].customCode = name.encode()
    return file


def test_ranges_and_edges_that_are_there(decided):
    check_decisions(converted(0.01000001, f"{ENTER}:part"), decided)


@pytest.mark.parametrize(
    "scale, edge, missing",
    [
        (0.0101, f"{ENTER}:part", "sum"),
        (0.01, f"{LEAVE}:part", "part"),
        (0.01, f"{ENTER}:another", "part"),
    ],
)
def test_what_is_missing_is_named(scale, edge, missing, decided):
    with pytest.raises(ValueError, match=f"none of its tensors is that of '{missing}'"):
        check_decisions(converted(scale, edge), decided)


class FirstOf(keras.layers.Layer):
    """Ignores all of its inputs but one."""

    def call(self, x, other):
        return x + 1.0


@pytest.mark.parametrize("ignored", [True, False])
def test_what_nothing_reads_may_be_missing(ignored):
    x = keras.Input((4,), name="x")
    edge = FloatEdge(ENTER, name="part")
    edge.mark()
    pair = (x, edge(x)) if ignored else (edge(x), x)
    model = keras.Model({"x": x}, FirstOf()(*pair))
    file = converted(0.01, f"{ENTER}:another")
    if ignored:
        check_decisions(file, model)
    else:
        with pytest.raises(ValueError, match="none of its tensors is that of 'part'"):
            check_decisions(file, model)
