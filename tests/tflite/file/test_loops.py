"""What goes around in a loop is integers, as it is inside."""

import numpy as np
import pytest
import tensorflow as tf

from keras_share import predict_tflite
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.loops import carry_integers


def rounded(x):
    return tf.quantization.fake_quant_with_min_max_args(x, -2.0, 2.0)


def converted(first, rounds=True):
    """A file that adds its input to a state, four times, and halves it."""

    def serve(x):
        x = rounded(x) if rounds else x
        state = rounded(first(x)) if rounds else first(x)

        def body(i, state):
            if rounds:
                return i + 1, rounded(rounded(rounded(state) + x) * 0.5)
            return i + 1, (state + x) * 0.5

        _, state = tf.while_loop(lambda i, _: i < 4, body, (0, state))
        return {"y": rounded(state) if rounds else state}

    module = tf.Module()
    spec = tf.TensorSpec((1, 3), tf.float32, name="x")
    module.serve = tf.function(serve, [spec], autograph=False)
    function = module.serve.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    if rounds:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


def carried(model):
    """The types of what a loop carries, on its four sides."""
    graph, loop = next(
        (graph, op)
        for graph in model.subgraphs
        for op in graph.operators
        if flatbuffer.operator_name(model, op) == "WHILE"
    )
    body = model.subgraphs[loop.builtinOptions.bodySubgraphIndex]
    ends = (
        (graph, loop.inputs),
        (graph, loop.outputs),
        (body, body.inputs),
        (body, body.outputs),
    )
    return [
        {flatbuffer.dtype_name(graph.tensors[i].type) for i in tensors}
        for graph, tensors in ends
    ]


@pytest.mark.parametrize("first", [tf.zeros_like, tf.identity], ids=["zeros", "input"])
def test_states_are_integers(first):
    data = converted(first)
    model = flatbuffer.read(data)
    assert all("float32" in types for types in carried(model))
    carry_integers(model)
    assert carried(model) == [{"int8", "int32"}] * 4
    assert len(flatbuffer.pack(model)) < len(data)
    x = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)
    before, after = predict_tflite(data, x), predict_tflite(flatbuffer.pack(model), x)
    np.testing.assert_array_equal(after, before)
    assert np.ptp(after)


def test_loops_in_floating_point_stay_so():
    model = flatbuffer.read(converted(tf.identity, rounds=False))
    before = carried(model)
    carry_integers(model)
    assert carried(model) == before
    assert "float32" in before[0]
