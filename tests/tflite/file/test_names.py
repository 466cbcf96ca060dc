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


def test_what_no_kernel_reads_is_not_in_flash(tmp_path):
    inputs = keras.Input((64,), name="samples")
    x = keras.layers.Dense(32, "relu", name="first")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="second")(x))
    samples = np.random.default_rng(0).normal(size=(4, 64)).astype("float32")
    quantized = ks.quantize_model(model, samples)
    sizes, outputs = [], []
    for target in ("accelerator", "micro"):
        path = tmp_path / f"{target}.tflite"
        ks.export_tflite(quantized, path, target=target)
        sizes.append(path.stat().st_size)
        outputs.append(ks.predict_tflite(path, samples))
    np.testing.assert_array_equal(*outputs)
    assert sizes[1] < sizes[0] - 150
    file = flatbuffer.read(path)
    [graph] = file.subgraphs
    names = [t.name.decode() for t in graph.tensors if t.name]
    assert len(names) == 3 and any(name.startswith("first") for name in names)
    assert [entry.name for entry in file.metadata] == [b"keras_share"]
    assert sum(buffer.data is None for buffer in file.buffers) == 1
