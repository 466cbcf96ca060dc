import keras
import pytest
from keras import layers, ops

from keras_share import SharedStack, Tied
from keras_share.retrofit.find_sites import find_sites


def sites_of(model):
    """For each kind, its sites as tuples of names of layers."""
    table = find_sites(model)
    grouped = table.groupby(["kind", "site"], sort=False)["layer"].agg(tuple)
    return {
        kind: list(sites) for kind, sites in grouped.groupby(level="kind", sort=False)
    }


def test_one_row_per_layer():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4, name="first")])
    for i in range(2):
        model.add(layers.Dense(4, name=f"dense_{i}"))
        model.add(layers.BatchNormalization(name=f"norm_{i}"))
    table = find_sites(model)
    assert table.to_dict("list") == {
        "kind": 4 * ["dense_0"],
        "site": [0, 0, 1, 1],
        "position": [0, 1, 0, 1],
        "layer": ["dense_0", "norm_0", "dense_1", "norm_1"],
        "class": 2 * ["Dense", "BatchNormalization"],
        "shapes": 2 * [((4, 4), (4,)), ((4,), (4,), (4,), (4,))],
        "params": 2 * [20, 16],
    }


def test_nothing_repeats():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
    table = find_sites(model)
    assert table.empty and "kind" in table.columns


def test_normalization_alone_is_no_block():
    model = keras.Sequential([keras.Input((8,))])
    for _ in range(3):
        model.add(layers.LayerNormalization())
    assert find_sites(model).empty


def test_what_has_no_weights_may_differ():
    model = keras.Sequential([keras.Input((6, 4))])
    for i in range(3):
        model.add(layers.LSTM(4, return_sequences=True, name=f"lstm_{i}"))
        if i < 2:  # none after the last
            model.add(layers.Dropout(0.1 * i))
    assert sites_of(model) == {"lstm_0": [("lstm_0",), ("lstm_1",), ("lstm_2",)]}


def test_blocks_with_branches():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 1, name="stem")(inputs)
    for i in range(3):
        y = layers.DepthwiseConv2D(3, padding="same", name=f"depthwise_{i}")(x)
        y = layers.BatchNormalization(name=f"norm_{i}")(y)
        s = layers.GlobalAveragePooling2D(keepdims=True)(y)
        s = layers.Conv2D(2, 1, activation="relu", name=f"reduce_{i}")(s)
        s = layers.Conv2D(4, 1, activation="sigmoid", name=f"expand_{i}")(s)
        y = layers.Conv2D(4, 1, name=f"project_{i}")(y * s)
        x = x + (layers.Dropout(0.1 * i)(y) if i else y)
    parts = ("depthwise", "norm", "reduce", "expand", "project")
    model = keras.Model(inputs, x)
    assert sites_of(model) == {
        "depthwise_0": [tuple(f"{part}_{i}" for part in parts) for i in range(3)]
    }


@pytest.mark.parametrize("masks", ["masking", "embedding"])
def test_a_mask_of_the_input_is_no_branch(masks):
    if masks == "masking":
        inputs = keras.Input((6, 8))
        x = layers.Masking()(inputs)
    else:
        inputs = keras.Input((6,), dtype="int32")
        x = layers.Embedding(5, 8, mask_zero=True)(inputs)
    for i in range(3):
        x = layers.GRU(8, return_sequences=True, name=f"gru_{i}")(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    assert find_sites(model)["layer"].tolist() == ["gru_0", "gru_1", "gru_2"]


def test_nested_models_are_opened():
    def block(i):
        x = inputs = keras.Input((4,))
        x = layers.Dense(4, activation="relu", name="dense")(x)
        return keras.Model(inputs, layers.Add()([x, inputs]), name=f"block_{i}")

    model = keras.Sequential(
        [keras.Input((4,)), keras.Sequential([block(0), block(1)], name="stage")]
    )
    model.add(block(2))
    assert sites_of(model) == {
        "stage/block_0/dense": [
            ("stage/block_0/dense",),
            ("stage/block_1/dense",),
            ("block_2/dense",),
        ]
    }


def test_nested_models_with_several_inputs_and_outputs():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    inner = keras.Model(
        {"a": a, "b": b}, [layers.Dense(4, name="one")(a), layers.Add()([a, b])]
    )
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="zero")(inputs)
    one, _ = inner({"a": x, "b": x})
    model = keras.Model(inputs, layers.Dense(4, name="two")(one))
    path = f"{inner.name}/one"
    assert sites_of(model) == {"zero": [("zero",), (path,), ("two",)]}


def test_towers_stand_one_after_the_other():
    x = inputs = keras.Input((4,))
    towers = []
    for name in "ab":
        x = inputs
        for i in range(2):
            x = layers.Dense(4, name=f"{name}{i}")(x)
            x = layers.BatchNormalization(name=f"{name}n{i}")(x)
        towers.append(x)
    model = keras.Model(inputs, layers.Concatenate()(towers))
    assert sites_of(model) == {
        "a0": [("a0", "an0"), ("a1", "an1"), ("b0", "bn0"), ("b1", "bn1")]
    }


def test_what_is_shared_already_is_not_offered():
    shared = layers.Dense(4, name="shared")
    x = inputs = keras.Input((4,))
    for i in range(3):
        use = Tied(shared, private="bias") if i == 1 else shared
        x = layers.LayerNormalization(name=f"norm_{i}")(use(x))
        x = layers.Dense(4, name=f"dense_{i}")(x)
    # The blocks repeat all the same.
    assert sites_of(keras.Model(inputs, x)) == {
        "norm_0": [(f"norm_{i}", f"dense_{i}") for i in range(3)]
    }

    twice = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
    x = twice(twice(inputs))
    x = SharedStack(layers.Dense(4), "AA")(x)
    x = SharedStack(layers.Dense(4), "AA")(x)
    assert sites_of(keras.Model(inputs, x)) == {}


def test_the_model_is_not_changed():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(4)])
    inputs = keras.Input((4,))
    outer = keras.Model(inputs, model(ops.relu(inputs)))
    config = outer.to_json()
    find_sites(outer)
    assert outer.to_json() == config


class Subclassed(keras.Model):
    def call(self, x):
        return x


class Overriding(keras.Model):
    def call(self, x):
        return 2 * super().call(x)


@pytest.mark.parametrize(
    "make, message",
    [
        (Subclassed, "built Sequential or Functional model is needed"),
        (lambda: keras.Sequential([layers.Dense(4)]), "is not built: add a `keras.In"),
        (lambda: layers.Dense(4), "A Keras model is needed"),
        (
            lambda: Overriding(x := keras.Input((4,)), layers.Dense(4)(x)),
            "of type Overriding overrides `call`",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        find_sites(make())
