"""`Distilled` and what candidates are compiled with."""

import keras
import numpy as np
import pytest

from keras_share.search.compression.data import Data
from keras_share.search.compression.scores import Scores
from keras_share.search.compression.training import (
    Distilled,
    distances,
    evaluate,
    initial_rate,
    judged,
    train,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("float32")
Y = (X.sum(axis=1) > 0).astype("int32")


def network(loss, units=2, **kwargs):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, **kwargs)])
    model.compile(keras.optimizers.Adam(0.1), loss, metrics=["accuracy"])
    return model


LOSSES = [
    ("sparse_categorical_crossentropy", {"activation": "softmax"}),
    (keras.losses.SparseCategoricalCrossentropy(from_logits=True), {}),
    ("binary_crossentropy", {"activation": "sigmoid", "units": 1}),
    (keras.losses.BinaryCrossentropy(from_logits=True), {"units": 1}),
    ("mse", {"units": 1}),
]


@pytest.mark.parametrize(("loss", "kwargs"), LOSSES)
def test_a_student_is_nearest_to_its_teacher_where_it_says_the_same(loss, kwargs):
    teacher = network(loss, **kwargs)
    [distance] = distances(teacher)
    right = teacher(X)
    off = teacher(X + 0.3)
    assert distance(off, right) > distance(right, right) + 1e-4


def test_it_learns_from_a_teacher_and_keeps_it():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    teacher = network(loss)
    teacher.fit(X, Y, epochs=20, verbose=0)
    before = [np.array(w) for w in teacher.get_weights()]
    student = network(loss)
    student.set_weights([np.zeros_like(w) for w in before])
    # The targets say nothing; what it learns is of the teacher.
    data = Data((X, RNG.permutation(Y)), "train")
    train(student, teacher, teacher, data, epochs=20, learning_rate=0.1)
    says = np.asarray(student(X)).argmax(axis=1)
    assert (says == np.asarray(teacher(X)).argmax(axis=1)).mean() > 0.9
    for one, other in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_outputs_by_name_with_weights_of_samples(tmp_path):
    x = keras.Input((4,), name="x")
    outputs = {
        "size": keras.layers.Dense(1, name="one")(x),
        "kind": keras.layers.Dense(2, activation="softmax", name="two")(x),
    }
    model = keras.Model({"x": x}, outputs)
    model.compile(
        "adam",
        {"size": "mse", "kind": "sparse_categorical_crossentropy"},
        metrics={"kind": "accuracy"},
    )
    targets = {"size": X[:, :1], "kind": Y}
    data = Data(({"x": X}, targets, {"size": np.ones(64), "kind": np.ones(64)}), "t")
    student = keras.models.clone_model(model)
    train(student, model, model, data, epochs=1, learning_rate=0.01, validation=data)
    assert "kind_accuracy" in evaluate(judged(student, model), data.whole)
    distilled = Distilled(student, model, distances(model))
    distilled.save_weights(tmp_path / "student.weights.h5")
    model.load_weights(tmp_path / "student.weights.h5")
    np.testing.assert_array_equal(model.get_weights()[0], student.get_weights()[0])


def test_the_learning_rate_is_that_of_the_model():
    model = network("mse")
    assert initial_rate(model) == pytest.approx(0.1)
    falling = keras.optimizers.schedules.CosineDecay(0.02, 10)
    model.compile(keras.optimizers.SGD(falling), "mse")
    assert initial_rate(model) == pytest.approx(0.02)
    rising = keras.optimizers.schedules.CosineDecay(
        0.0, 10, warmup_target=0.1, warmup_steps=5
    )
    model.compile(keras.optimizers.SGD(rising), "mse")
    with pytest.raises(ValueError, match="Pass `learning_rate=`"):
        initial_rate(model)


def test_a_loss_without_penalties_is_that_of_the_outputs():
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(40, 4)).astype("float32") for _ in range(2))

    def build():
        model = keras.Sequential([keras.Input((4,))])
        for i in range(3):
            penalty = keras.regularizers.L2(0.1)
            model.add(keras.layers.Dense(4, kernel_regularizer=penalty, name=f"d{i}"))
        model.compile("adam", "mse")
        return model

    model = build()
    said = model.predict(x, verbose=0)
    right = np.mean((said - y) ** 2)
    assert evaluate(judged(model, build()), (x, y))["loss"] == pytest.approx(
        right, 1e-5
    )
    assert model.evaluate(x, y, verbose=0) > right + 0.1
    scores = Scores(model, Data((x, y), "validation"), "loss")
    assert scores.interval([said]).value == pytest.approx(right, 1e-5)
