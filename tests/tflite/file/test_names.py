import keras
import numpy as np

import keras_share as ks
from keras_share.tflite.file import flatbuffer


def test_names_tell_the_layer_and_little_else(tmp_path):
    inputs = keras.Input((8,), name="samples")
    x = keras.layers.Dense(8, "relu", name="first")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="second")(x + inputs))
    path = tmp_path / "model.tflite"
    samples = np.zeros((2, 8), "float32")
    report = ks.export_tflite(ks.quantize_model(model, samples), path)
    file = flatbuffer.read(path)
    [graph] = file.subgraphs
    ends = {*map(int, graph.inputs), *map(int, graph.outputs)}
    names = [t.name.decode() for i, t in enumerate(graph.tensors) if i not in ends]
    assert not any(";" in name for name in names)
    computed = {
        tensor.name.decode()
        for i, tensor in enumerate(graph.tensors)
        if i not in ends and not flatbuffer.has_content(file, tensor)
    }
    assert {name.split("_")[0] for name in computed} >= {"first", "second"}
    assert not any("/" in name for name in computed)
    # An audit still finds the variables, and a caller the inputs.
    assert all(name in str(report) for name in ("first/kernel", "second/kernel"))
    assert file.signatureDefs[0].inputs[0].name == b"samples"
