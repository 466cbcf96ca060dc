"""The recognition example does the whole job; here with one tiny network on tones."""

import dataclasses

import numpy as np
import pytest
import speech_recognition
from keyword_parts import datasets
from keyword_parts.sequences import Sequences
from keyword_parts.tones import tones
from speech_recognition import Network, Settings, build, decode, listen

from keras_share import audit

SETTINGS = Settings(batches=2, batch_size=2, test=3, most=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recognition")
    models, built = [], build

    def keep(*args):
        models.append(built(*args))
        return models[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "tones", lambda seconds: tones(3, 3, 4))
        patch.setattr(speech_recognition, "build", keep)
        networks = {"relaxed": Network("AA", 8, rank=2)}
        patch.setattr(speech_recognition, "NETWORKS", networks)
        table = speech_recognition.run(folder, "tones", SETTINGS)
    return folder / "relaxed.tflite", table.iloc[0], models[0]


def test_the_file_hears_in_steps_what_the_network_hears_at_once(run):
    path, row, model = run
    features, _ = Sequences(tones(3, 3, 4), 2, 1, seconds=2.0, most=2)[0]
    found, expected = listen(path, features), np.asarray(model(features))
    assert found.shape == expected.shape == (2, features.shape[1] // 2, 4)
    assert np.abs(found - expected).mean() < 0.1 * expected.std()
    report = audit(path)
    assert report.file_bytes == row.file_bytes and report.duplicate_bytes < 64
    dtypes = {operator.dtype for operator in report.operators}
    assert dtypes == {"int8", "resource", "-"}  # to assign gives nothing


def test_the_table_counts_wrong_words(run):
    _, row, model = run
    errors = row[["float_greedy", "float_beam", "int8_greedy", "int8_beam"]]
    assert (errors >= 0).all() and row.parameters == model.count_params()


@pytest.mark.parametrize("strategy", ["greedy", "beam_search"])
def test_decoding(strategy):
    """Repeats are one word, unless there is a blank between them."""
    said = [
        [1, 1, 0, 1, 2, 2, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [3, 0, 2, 2, 2, 1, 1, 3],
    ]
    logits = 20 * np.eye(4, dtype="float32")[said]
    words = [[i for i in row if i > 0] for row in decode(logits, strategy)]
    assert words == [[1, 1, 2], [], [3, 2, 1, 3]]


def test_sentences():
    recordings = tones(3, 3, 4)
    made = Sequences(recordings, 40, 2, seconds=3.0, most=3, seed=1)
    x, y = made[0]
    assert x.shape == (40, 186, 24) and y.shape == (40, 3)
    counts = (y > 0).sum(axis=1)
    assert set(counts) == {1, 2, 3} and y.max() == 3
    assert all((row[n:] == 0).all() for row, n in zip(y, counts, strict=True))
    # What is said lasts the longer the more words there are.
    loud = (x.max(axis=2) > 4).sum(axis=1)
    assert loud[counts == 3].mean() > 1.8 * loud[counts == 1].mean()
    assert made.sentences(y[:1]) == [
        " ".join(recordings.words[i - 1] for i in y[0] if i)
    ]
    np.testing.assert_array_equal(made[0][0], x)
    assert (made[1][0] != x).any()
    made.on_epoch_end()
    assert (made[0][0] != x).any()
    with pytest.raises(
        ValueError, match=r"must fit into its audio: .*most=3, seconds=2"
    ):
        Sequences(recordings, 1, 1, seconds=2.0, most=3)


def test_the_command_line(monkeypatch):
    given = []
    monkeypatch.setattr(speech_recognition, "run", lambda *args: given.append(args))
    for arguments, source, settings in (
        ("", "spoken-digits", Settings()),
        ("--quick --seed 2", "tones", speech_recognition.QUICK),
        ("--data here.npz --batches 9", "here.npz", Settings(batches=9)),
    ):
        monkeypatch.setattr("sys.argv", ["speech_recognition.py", *arguments.split()])
        speech_recognition.main()
        seed = 2 if "seed" in arguments else 0
        assert given.pop()[1:] == (source, dataclasses.replace(settings, seed=seed))
