"""The benchmark of keywords: who is tested on, what is exported, what a table says."""

from typing import ClassVar

import keras
import keywords
import numpy as np
import pandas as pd
import pytest
from keyword_parts.tones import tones
from keyword_runs.features import folds
from keyword_runs.networks import NETWORKS, build
from keyword_runs.report import report
from keyword_runs.training import int8_file

from keras_share import audit


def test_each_fold_tests_on_speakers_of_its_own():
    recordings = tones(2, 6, 2)
    tests = folds(recordings)
    assert sorted(np.concatenate(tests)) == list(range(len(recordings)))
    speakers = [set(recordings.speakers[test]) for test in tests]
    assert len(set.union(*speakers)) == sum(map(len, speakers)) == 6
    with pytest.raises(ValueError, match=r"at least 4 speakers\. Received: voice_0, v"):
        folds(tones(2, 3, 2))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_wider_where_there_is_room(name):
    counts = [build(name, width, (61, 24), 10).count_params() for width in (8, 16)]
    assert counts[0] < counts[1]


def test_tied_blocks_are_stored_once():
    tied, unshared = (build(n, 16, (61, 24), 10) for n in ("tied", "unshared"))
    kernels = [
        sum(v.shape[-2:] == (16, 16) for v in m.weights) for m in (tied, unshared)
    ]
    assert kernels == [1, 3]


@pytest.mark.parametrize("name", ["tied", "bc_resnet"])
def test_files_are_for_a_microcontroller(name):
    x = np.random.default_rng(0).uniform(0, 8, (4, 61, 24)).astype("float32")
    data = int8_file(build(name, 8, (61, 24), 3), x)
    assert {operator.dtype for operator in audit(data).operators} == {"int8"}


class Counted:
    """A training that takes no time."""

    made: ClassVar[list] = []

    def __init__(self, name, width, features, labels, epochs):
        self.facts = {"network": name, "width": width, "epochs": epochs}

    def run(self, test, seed):
        self.made.append((self.facts["network"], int(test[0]), seed))
        facts = {"bytes": 9_000, "macs": 5, "accuracy": 0.5, "int8": 0.25 + seed}
        return {**self.facts, "seed": seed, **facts, "cpu_seconds": 1.0}


def test_a_run_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(keywords, "load_recordings", lambda source: tones(2, 4, 2))
    monkeypatch.setattr(keywords, "load", lambda *args: np.zeros((2, 16, 61, 24)))
    monkeypatch.setattr(keywords, "Trainer", Counted)
    monkeypatch.setattr(keywords, "fitting_width", lambda *args: 12)
    given = {"kilobytes": 20, "epochs": 1, "disguises": 1}
    arguments = ("digits.npz", tmp_path, tmp_path)
    keywords.run(*arguments, networks=["tied"], seeds=1, **given)
    table = keywords.run(*arguments, networks=["tied", "ds_cnn"], seeds=2, **given)
    assert len(Counted.made) == len(set(Counted.made)) == len(table) == 16
    assert set(table.speakers) == {f"voice_{i}" for i in range(4)}
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "digits.csv"), table)
    assert (tmp_path / "digits.md").read_text() == report(table)
    assert "| tied | 12 | 9,000 | 5 | 0.500 | 0.750 |" in report(table)


def test_the_same_network_is_trained_anew():
    features = np.zeros((2, 8, 61, 24), "float16")
    trainer = keywords.Trainer("tied", 8, features, np.arange(8) % 2, 1)

    class Few:
        def __len__(self):
            return 1

    first = trainer._fresh(Few(), 0)
    start = first.get_weights()
    first.set_weights([w + 1 for w in start])
    again = trainer._fresh(Few(), 0)
    assert again is first
    for w, v in zip(again.get_weights(), start, strict=True):
        np.testing.assert_array_equal(w, v)
    assert all(keras.ops.all(v == 0) for v in again.optimizer.variables)
