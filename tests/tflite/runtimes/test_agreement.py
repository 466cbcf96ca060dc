import numpy as np
import pytest

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.runtimes.agreement import (
    MOST,
    agreement_of,
    difference,
    random_inputs,
)

NAN, INF = float("nan"), float("inf")


def tensor(name, dtype, shape, scale=None):
    made = schema.TensorT()
    made.name, made.type, made.shape = name, getattr(schema.TensorType, dtype), shape
    if scale:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale = np.array([scale])
    return made


def graph(tensors, inputs, outputs):
    made = schema.SubGraphT()
    made.tensors, made.inputs, made.outputs = tensors, inputs, outputs
    made.operators = []
    return made


def signature(key, index, inputs, outputs):
    made = schema.SignatureDefT()
    made.signatureKey, made.subgraphIndex = key, index
    made.inputs, made.outputs = map(ends, (inputs, outputs))
    return made


def ends(names):
    maps = []
    for name, index in names.items():
        maps.append(schema.TensorMapT())
        maps[-1].name, maps[-1].tensorIndex = name, index
    return maps


def model(*graphs, signatures=None):
    made = schema.ModelT()
    made.subgraphs, made.signatureDefs = list(graphs), signatures
    return made


def only(dtype, shape=(4000,), scale=None):
    made = model(graph([tensor(b"x", dtype, shape, scale)], [0], [0]))
    [(_, inputs, _)] = random_inputs(made)
    return inputs["x"]


@pytest.mark.parametrize("dtype", ["FLOAT16", "FLOAT32", "FLOAT64"])
def test_floats_are_normal(dtype):
    x = only(dtype)
    assert x.dtype == dtype.lower()
    assert abs(x.mean()) < 0.1 and abs(x.std() - 1) < 0.1


@pytest.mark.parametrize("dtype", ["INT8", "UINT8"])
def test_integers_with_a_scale_have_the_whole_range(dtype):
    x, limits = only(dtype, scale=0.1), np.iinfo(dtype.lower())
    assert x.dtype == dtype.lower()
    assert sorted({*x.tolist()}) == [*range(limits.min, limits.max + 1)]
    wide = only("INT16", scale=0.1)
    assert wide.min() < -32000 and wide.max() > 32000


@pytest.mark.parametrize("dtype", ["INT8", "INT32", "INT64", "UINT8", "BOOL"])
def test_other_integers_look_up_what_is_there(dtype):
    assert {*only(dtype).tolist()} == {0, 1}


def test_open_dimensions_are_one():
    assert only("FLOAT32", (-1, 3)).shape == only("FLOAT32", (0, 3)).shape == (1, 3)
    assert only("FLOAT32", ()).shape == only("FLOAT32", None).shape == ()


def test_strings_are_refused():
    with pytest.raises(ValueError, match=r"must be numbers .* 'x' of type string"):
        only("STRING")


def test_sizes_that_a_file_makes_up_are_refused():
    with pytest.raises(ValueError, match=r"at most .* numbers, .*\(2147483647, 9\)"):
        only("INT8", (2**31 - 1, 9))


def test_a_seed_gives_the_same_inputs():
    made = model(graph([tensor(b"x", "FLOAT32", (9,))], [0], [0]))
    first, again, other = (
        random_inputs(made, seed)[0][1]["x"].tolist() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_names_and_places():
    tensors = [tensor(name, "FLOAT32", (2, i + 1)) for i, name in enumerate("abcd")]
    graphs = graph(tensors, [2, 0], [3, 1]), graph(tensors, [1], [0])
    [(key, inputs, outputs)] = random_inputs(model(*graphs))
    assert key is None and [*inputs] == ["c", "a"] and outputs == {"d": 0, "b": 1}
    signatures = [
        signature(b"one", 0, {b"A": 0, b"C": 2}, {b"B": 1, b"D": 3}),
        signature(b"two", 1, {b"x": 1}, {b"y": 0}),
    ]
    one, two = random_inputs(model(*graphs, signatures=signatures))
    assert one[0] == "one" and two[0] == "two"
    assert {name: x.shape for name, x in one[1].items()} == {"C": (2, 3), "A": (2, 1)}
    assert [*one[1]] == ["C", "A"] and one[2] == {"D": 0, "B": 1}
    assert two[1]["x"].shape == (2, 2) and two[2] == {"y": 0}


@pytest.mark.parametrize(
    ("right", "other", "expected"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0),
        ([1.0, -4.0], [2.0, -4.0], 0.25),
        ([1.0, -4.0], [2.0, -2.0], 0.5),
        ([0.0, 0.0], [0.0, 3.0], 3),
        ([], [], 0),
        ([NAN, INF, -INF, 2.0], [NAN, INF, -INF, 3.0], 0.5),
        ([NAN, 1.0], [0.0, 1.0], INF),
        ([0.0, 1.0], [NAN, 1.0], INF),
        ([INF], [-INF], INF),
        ([1.0, 2.0], [1.0], INF),
    ],
)
def test_difference(right, other, expected):
    right, other = np.array(right), np.array(other)
    assert difference([{"y": right}], [{"y": other}]) == expected
    assert difference([{}, {"y": right}], [{}, {"y": other}]) == expected


def test_difference_of_integers_does_not_wrap():
    right, other = np.array([127, -128], "int8"), np.array([-128, -128], "int8")
    assert difference([{"y": right}], [{"y": other}]) == 255 / 128


def test_each_output_has_its_own_measure():
    right = [{"small": np.array([0.1]), "large": np.array([100.0])}]
    other = [{"small": np.array([0.2]), "large": np.array([100.0])}]
    assert difference(right, other) == 1
    assert difference(right, [{"small": right[0]["small"]}]) == INF
    assert difference(right, right * 2) == INF


def test_flatbuffer_types_are_those_of_numpy():
    assert flatbuffer.dtype_name(schema.TensorType.BOOL) == np.dtype(bool).name


@pytest.mark.parametrize("other, ratio", [(NAN, -MOST), (INF, -MOST), (1.0, MOST)])
def test_what_is_not_finite_is_infinitely_far(other, ratio):
    right = np.array([1.0, NAN, INF])
    assert agreement_of("y", right, np.array([other, NAN, INF])).ratio == ratio
