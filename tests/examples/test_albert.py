"""The ALBERT example does the whole job; here with the tiniest encoder."""

import dataclasses
import json

import albert
import keras
import numpy as np
import pytest
from albert_parts.batches import Batch
from albert_parts.corpus import Vocabulary, read_text
from albert_parts.exported import fill
from albert_parts.settings import PRESETS, remember
from albert_parts.training import compile_model, train

from keras_share import audit

SETTINGS = dataclasses.replace(PRESETS["tiny"], mode="shared", steps=3, tuning_steps=2)


def train_eagerly(model, *args, **kwargs):
    """Of so few steps, tracing takes longer than running."""
    model.run_eagerly = True
    train(model, *args, **kwargs)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("albert")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(albert, "train", train_eagerly)
        results = albert.run(SETTINGS, folder, read_text())
    return folder, results


def test_everything_lands_in_the_folder(run):
    folder, results = run
    assert {path.name for path in folder.iterdir()} == {
        "classifier.npz",
        "classifier.tflite",
        "pretraining.keras",
        "pretraining.npz",
        "pretraining_dynamic.tflite",
        "pretraining_float32.tflite",
        "results.json",
        "settings.json",
        "vocabulary.txt",
    }
    assert json.loads((folder / "results.json").read_text()) == results
    assert all(0 <= v <= 1 for k, v in results.items() if k.endswith("accuracy"))
    for scheme in ("float32", "dynamic"):
        size = (folder / f"pretraining_{scheme}.tflite").stat().st_size
        assert results[f"{scheme}_bytes"] == size


def test_the_files_are_tied(run):
    folder, _ = run
    report = audit(folder / "pretraining_float32.tflite")
    [table] = [b for b in report.buffers if b.nbytes == 4 * 200 * 8]
    assert table.uses == 2  # as embedding and as output layer
    inner = [b for b in report.buffers if b.shape in ((24, 48), (48, 24))]
    assert [(b.uses, b.calls) for b in inner] == [(1, 2), (1, 2)]  # of one body
    assert report.duplicate_bytes == 0


def test_a_finished_training_is_not_repeated(run, monkeypatch):
    folder, _ = run
    monkeypatch.setattr(albert.pretraining, "training_batch", None)
    corpus = albert.prepare(SETTINGS, read_text(), folder)
    again = albert.pretrain(SETTINGS, corpus, folder)
    saved = keras.saving.load_model(folder / "pretraining.keras")
    assert saved.count_params() == again.count_params()
    for ours, theirs in zip(again.weights, saved.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_folder_is_that_of_one_run(run):
    folder, _ = run
    other = dataclasses.replace(SETTINGS, mode="dense", seed=5)
    with pytest.raises(ValueError, match=r"differ: mode \('shared', now 'dense'\), se"):
        remember(other, read_text(), folder)
    with pytest.raises(ValueError, match="differ: text"):
        remember(SETTINGS, "Another text.", folder)


def test_a_file_fills_masks(run):
    folder, _ = run
    vocabulary = Vocabulary.load(folder / "vocabulary.txt")
    path = folder / "pretraining_dynamic.tflite"
    both = fill(path, vocabulary, "the [MASK] of a [MASK]", SETTINGS.length, count=3)
    assert [len(guesses) for guesses in both] == [3, 3]
    for guesses in both:
        words, chances = zip(*guesses, strict=True)
        assert set(words) < set(vocabulary.words)
        assert sorted(chances, reverse=True) == list(chances) and sum(chances) < 1
    with pytest.raises(
        ValueError, match=r"between 1 and 5 times '\[MASK\]'. Received: 0"
    ):
        fill(path, vocabulary, "no mask", SETTINGS.length)
    with pytest.raises(ValueError, match=r"at most 30 words\. Received: 31"):
        fill(path, vocabulary, "[MASK] " * 31, SETTINGS.length)


def small_model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), name="x")
    x = keras.layers.Dense(8, "relu")(inputs)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.BatchNormalization()(x)
    outputs = keras.layers.Dense(2, name="y")(x)
    model = keras.Model({"x": inputs}, {"y": outputs})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metric = keras.metrics.SparseCategoricalAccuracy("accuracy")
    compile_model(model, {"y": loss}, {"y": [metric]}, steps=10, learning_rate=0.1)
    return model


def batch_at(step):
    rng = np.random.default_rng(step)
    return Batch({"x": rng.normal(size=(6, 4))}, {"y": rng.integers(2, size=6)})


def test_a_killed_run_goes_on(tmp_path):
    """To the same weights, bit for bit, as if nothing had happened."""

    def killed(step):
        if step == 7:
            raise KeyboardInterrupt
        return batch_at(step)

    whole = small_model()
    train(whole, batch_at, 10, tmp_path / "whole.npz")
    with pytest.raises(KeyboardInterrupt):
        train(small_model(), killed, 10, tmp_path / "state.npz", save_every=3)
    seen = []

    def watched(step):
        seen.append(step)
        return batch_at(step)

    resumed = small_model()
    train(resumed, watched, 10, tmp_path / "state.npz", save_every=3)
    assert seen == [6, 7, 8, 9]
    for ours, theirs in zip(resumed.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_command_line(monkeypatch, tmp_path):
    def settings(*arguments):
        options = albert.parser().parse_args(arguments)
        return albert.read_settings(options)

    assert settings() == PRESETS["small"]
    assert settings("--tiny") == PRESETS["tiny"]
    assert settings("--size", "base", "--freeze", "--mode", "cycle:3") == (
        dataclasses.replace(PRESETS["base"], freeze=True, mode="cycle:3")
    )
    given = []
    monkeypatch.setattr(albert, "run", lambda *args: given.append(args))
    text = tmp_path / "book.txt"
    text.write_text("Once upon a time.", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["albert.py", "--text", str(text), "--steps", "7"])
    albert.main()
    [(told, folder, book, sentence)] = given
    assert told == dataclasses.replace(PRESETS["small"], steps=7)
    assert (folder.name, book, sentence) == (
        "albert_results",
        "Once upon a time.",
        None,
    )
