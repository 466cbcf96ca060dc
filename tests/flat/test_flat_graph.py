import keras
from keras import layers

from keras_share import SharedStack
from keras_share.blocks import TransformerBlock
from keras_share.flat.flatten import flatten


def test_knows_producers_consumers_and_outputs():
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="one")(inputs)
    model = keras.Model(inputs, [x, layers.ReLU(name="two")(x)])
    graph = flatten(model)
    one, two = graph.steps
    assert graph.producer(one.inputs[0]) is None
    assert graph.producer(two.inputs[0]) is one
    assert graph.consumers(one.output) == [two]
    assert graph.is_output(one.output) and graph.is_output(two.output)


class Gain(layers.Layer):
    """A weight beside a layer, in one layer."""

    def build(self, shape):
        self.gain = self.add_weight(shape=shape[-1:], name="gain")
        self.relu = layers.ReLU()

    def call(self, x):
        return self.relu(x * (self.gain + 1.0))


def test_knows_what_is_computed_of_weights_alone():
    x = inputs = keras.Input((4,))
    for _ in range(40):  # each read twice: paths are 2 to the 40th
        x = x * x
    graph = flatten(keras.Model(inputs, Gain(name="own")(x)))
    held, more, product = (
        next(s for s in graph if s.name == f"own.{name}")
        for name in ("gain", "add", "multiply")
    )
    assert graph.changing_inputs(more) == []
    assert graph.changing_inputs(product) == [graph.steps[39].output] == held.inputs


def test_tells_which_layers_hold_a_step():
    stack = SharedStack(TransformerBlock(2, 8), "AA", name="stack")
    inputs = keras.Input((6, 4))
    graph = flatten(keras.Model(inputs, stack(inputs)))
    outer = [step.within[0] for step in graph]
    assert {layer.name for layer, _ in outer[:-1]} == {graph.name}
    block = [dict((id(k), v) for k, v in s.within)[id(stack.blocks[0])] for s in graph]
    assert block == [*range(len(block) // 2)] * 2
