"""A search goes on only with what it began with."""

import json
from pathlib import Path

import keras
import keras_tuner as kt
import pytest
from quick_search import Untrained, quick

from keras_share.search import (
    BayesianOptimization,
    GridSearch,
    RandomSearch,
    SearchResults,
    SharingSearch,
    sharing_pattern,
)
from keras_share.search.project import fingerprint


class Flexible(kt.HyperModel):
    """A hypermodel of many searches; `declare` is not part of its code."""

    def __init__(self, declare, width=8):
        super().__init__()
        self._declare = declare
        self.width = width

    def build(self, hp):
        self._declare(hp)
        inputs = keras.Input((1,))
        return keras.Model(inputs, keras.layers.Dense(1)(inputs))

    def fit(self, hp, model, callbacks, epochs=1, data=None, **kwargs):
        return {"val_accuracy": 0.5, "val_loss": 0.5}


def rate(hp):
    hp.Choice("rate", [0.1, 0.2, 0.4])


def begin(folder, declare=rate, width=8, objective="val_accuracy", **kwargs):
    return RandomSearch(
        Flexible(declare, width),
        objective,
        **{"max_trials": 1, "export": None, "seed": 1, "directory": folder, **kwargs},
    )


def other_range(hp):
    hp.Choice("rate", [0.1, 0.3])


def one_more(hp):
    rate(hp)
    hp.Int("depth", 1, 3)


def condition(hp):
    rate(hp)
    with hp.conditional_scope("rate", [0.1]):
        hp.Boolean("bias")


def pattern(hp):
    rate(hp)
    sharing_pattern(hp, 3)


SPACES = {
    "range": (other_range, r"search space: rate: .*\[0.1, 0.2, 0.4\].* -> .*0.3\]"),
    "further": (one_more, r"search space: depth is new \(Int .*max_value=3"),
    "condition": (condition, r"search space: bias is new \(Boolean .* if rate in"),
    "pattern": (pattern, r'search space: sharing.patterns is new .*"num_sites": 3'),
}


@pytest.mark.parametrize("change", SPACES)
def test_changed_space(change, tmp_path):
    declare, message = SPACES[change]
    begin(tmp_path).search(verbose=0)
    with pytest.raises(ValueError, match=message):
        begin(tmp_path, declare).search(verbose=0)
    begin(tmp_path, declare, on_change="continue", max_trials=3).search(verbose=0)
    tuner = begin(tmp_path, declare, max_trials=4)  # is what it began with, now
    tuner.search(verbose=0)
    assert len(tuner.results) >= 2
    last = tuner.results.records[-1].hyperparameters
    declared = kt.HyperParameters()
    declare(declared)
    assert last.keys() <= declared.values.keys()
    assert last["rate"] in declared.space[0].values
    with pytest.raises(ValueError, match="search space"):
        begin(tmp_path).search(verbose=0)


def test_hyperparameter_that_is_gone(tmp_path):
    begin(tmp_path, one_more).search(verbose=0)
    with pytest.raises(ValueError, match=r"search space: depth is gone \(was Int"):
        begin(tmp_path).search(verbose=0)


def test_message_names_every_change_and_the_ways_out(tmp_path):
    begin(tmp_path).search(epochs=3, verbose=0)
    results = begin(tmp_path).results
    with pytest.raises(ValueError) as caught:
        begin(tmp_path, width=9, objective="val_loss").search(epochs=4, verbose=0)
    message = str(caught.value)
    for line in (
        "objective: val_accuracy is gone (was max)",
        "objective: val_loss is new (min)",
        "code: width: 8 -> 9",
        "arguments of `search`: epochs: 3 -> 4",
    ):
        assert f"\n  {line}\n" in message
    for way in ("`project_name`", "`overwrite=True`", '`on_change="continue"`'):
        assert way in message
    assert begin(tmp_path).results == results


@pytest.mark.parametrize("cls", [RandomSearch, BayesianOptimization, SharingSearch])
def test_another_objective_shows_its_own_scores(cls, tmp_path):
    class Falling(Untrained):
        def fit(self, hp, model, callbacks):
            groups = self.pattern.num_groups
            return {"val_accuracy": groups / 10, "val_loss": groups / 100}

    def begin(objective, trials, **kwargs):
        return cls(
            Falling(),
            objective,
            **{"max_trials": trials, "export": None, "seed": 1, "directory": tmp_path},
            **kwargs,
        )

    begin("val_accuracy", 4).search(verbose=0)
    tuner = begin("val_loss", 7, on_change="continue")
    tuner.search(verbose=0)
    assert len(tuner.results) == 7
    for results in (tuner.results, SearchResults.load(tuner.project_dir)):
        assert (results.objective, results.direction) == ("val_loss", "min")
        board = results.leaderboard()
        assert list(board["val_loss"]) == sorted(board["num_groups"] / 100)
    best = tuner.oracle.get_best_trials(7)
    assert [trial.score for trial in best] == list(board["val_loss"])


def test_an_objective_that_earlier_trials_lack(tmp_path):
    begin(tmp_path).search(verbose=0)

    class Further(Flexible):
        def fit(self, hp, model, callbacks, **kwargs):
            return {"val_auc": 0.7}

    tuner = RandomSearch(
        Further(rate),
        kt.Objective("val_auc", "max"),
        **{"max_trials": 3, "export": None, "seed": 1, "directory": tmp_path},
        on_change="continue",
    )
    tuner.search(verbose=0)
    board = tuner.leaderboard()
    assert list(board["val_auc"].dropna()) == [0.7, 0.7] and len(board) == 3
    assert len(tuner.pareto_front("val_auc", "seconds")) >= 1


def test_what_is_no_change(tmp_path):
    begin(tmp_path).search(epochs=3, data=[1, 2], verbose=0)
    tuner = begin(tmp_path, max_trials=2, keep_checkpoints=None)
    tuner.search(epochs=3, data=[5], verbose=2)
    assert len(tuner.results) == 2


TUNER = {
    "export": ({"export": {"strict": True}}, "export: None -> strict=True"),
    "repeats": ({"executions_per_trial": 2}, "executions_per_trial: 1 -> 2"),
    "budget": ({"max_bytes": 9}, r"limit of exported_bytes is new \(9\)"),
}


@pytest.mark.parametrize("change", TUNER)
def test_changed_tuner(change, tmp_path):
    arguments, message = TUNER[change]
    begin(tmp_path).search(verbose=0)
    with pytest.raises(ValueError, match=f"arguments of the tuner: {message}"):
        begin(tmp_path, **arguments).search(verbose=0)


def test_donor_is_known_by_its_name():
    def told(donor):
        return fingerprint.settings_of(None, donor, 1, {})["inherit"]

    donors = (None, "a/full.keras", Path("b/full.keras"), object())
    assert [*map(told, donors)] == [None, "full.keras", "full.keras", "a model"]


def test_changed_code(tmp_path):
    class Other(Untrained):
        pass

    quick(GridSearch, tmp_path, max_trials=1).search(verbose=0)
    with pytest.raises(ValueError, match=r"code: Untrained is gone \(was [0-9a-f]{16}"):
        quick(GridSearch, tmp_path, Other(), max_trials=2).search(verbose=0)


def test_build_function(tmp_path):
    def builder(units):
        def build(hp):
            sharing_pattern(hp, 3)
            inputs = keras.Input((1,))
            model = keras.Model(inputs, keras.layers.Dense(units)(inputs))
            model.compile("sgd", "mse", jit_compile=False)
            return model

        return build

    def begin(units):
        return RandomSearch(builder(units), "loss", 1, export=None, directory=tmp_path)

    code = [begin(units)._code for units in (1, 1, 2)]
    assert code[0] == code[1] != code[2]
    assert code[2]["units"] == "2"


def test_projects_of_older_versions_go_on(tmp_path):
    begin(tmp_path).search(verbose=0)
    path = tmp_path / "untitled_project" / "search.json"
    path.unlink()
    begin(tmp_path, width=9, max_trials=2).search(verbose=0)
    written = json.loads(path.read_text())
    assert written["code"]["width"] == "9"
    # What a version did not note is not compared.
    del written["tuner"]
    path.write_text(json.dumps(written))
    begin(tmp_path, width=9, max_trials=3, executions_per_trial=2).search(verbose=0)


def test_versions_are_noted_but_may_change(tmp_path, monkeypatch):
    begin(tmp_path).search(verbose=0)
    found = fingerprint.read(tmp_path / "untitled_project")
    assert found["versions"]["keras"] == keras.__version__
    monkeypatch.setattr(keras, "__version__", "9.9")
    begin(tmp_path, max_trials=2).search(verbose=0)
    now = fingerprint.read(tmp_path / "untitled_project")
    assert now["versions"]["keras"] == "9.9"


def test_worker_deletes_nothing(tmp_path, monkeypatch):
    begin(tmp_path).search(verbose=0)
    before = sorted(Path(tmp_path).rglob("*"))
    for name, value in (("IP", "localhost"), ("PORT", "1")):
        monkeypatch.setenv(f"KERASTUNER_ORACLE_{name}", value)
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner7")
    worker = begin(tmp_path, overwrite=True)
    assert len(worker.results) == 1
    assert set(Path(tmp_path).rglob("*")) >= set(before)
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    assert len(begin(tmp_path, overwrite=True).results) == 0


def test_bad_choice(tmp_path):
    with pytest.raises(
        ValueError, match=r"`on_change` must be 'refuse' or 'continue'.*'ask'"
    ):
        begin(tmp_path, on_change="ask")
