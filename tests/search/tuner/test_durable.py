"""Files of a search in every state a dead process may leave them."""

import itertools
import json
import os
import shutil
from pathlib import Path

import keras_tuner as kt
import pytest
from quick_search import ALL, Untrained, patterns, quick

from keras_share.search import (
    BayesianOptimization,
    GridSearch,
    Hyperband,
    RandomSearch,
    SearchResults,
)
from keras_share.search.engine import Trial
from keras_share.search.project import record_files, saved
from keras_share.search.tuner.durable import Durable


class Wandering(Durable, kt.oracles.RandomSearchOracle):
    """Random values of which each depends on all earlier draws."""


class Line(kt.engine.base_tuner.BaseTuner):
    """Trials without Keras: the score is the sum of two hyperparameters."""

    def run_trial(self, trial):
        hp = trial.hyperparameters
        return {"val_accuracy": hp.Float("a", 0, 1) + hp.Float("b", 0, 1)}


def line(folder, oracle_class=Wandering, **kwargs):
    oracle = oracle_class("val_accuracy", max_trials=4, seed=3, **kwargs)
    hyperparameters = oracle.hyperparameters
    hyperparameters.Float("a", 0, 1)
    hyperparameters.Float("b", 0, 1)
    oracle.verbose = 0
    return Line(oracle, directory=folder, project_name="line")


def values(tuner):
    return {i: t.hyperparameters.values for i, t in tuner.oracle.trials.items()}


def snapshots(monkeypatch, folder):
    """Copies of the project before each write: what a kill leaves behind."""
    copies = []
    write = saved.write_atomically

    def write_and_copy(path, data):
        copies.append(folder.with_name(f"copy{len(copies)}"))
        shutil.copytree(folder, copies[-1])
        write(path, data)

    for module in ("project.saved", "tuner.durable"):
        monkeypatch.setattr(
            f"keras_share.search.{module}.write_atomically", write_and_copy
        )
    return copies


def test_a_kill_between_any_two_writes_changes_nothing(tmp_path, monkeypatch):
    with monkeypatch.context() as patches:
        folder = tmp_path / "whole"
        folder.mkdir()
        copies = snapshots(patches, folder)
        whole = line(folder)
        whole.search()
    assert len(copies) > 20
    for killed in copies:
        finished = {
            trial["trial_id"]: trial["score"]
            for path in killed.glob("line/trial_*/trial.json")
            for trial in [json.loads(path.read_text())]
            if trial["status"] == "COMPLETED"
        }
        rest = line(killed)
        ran = []
        rest.on_trial_begin = lambda trial, ran=ran: ran.append(trial.trial_id)
        rest.search()
        assert values(rest) == values(whole)
        assert not set(ran) & set(finished)
        assert sorted({*ran, *finished}) == ["0", "1", "2", "3"]
        assert len(ran) + len(finished) == 4
        recorded = {
            row.trial_id: row.score for row in record_files.read(rest.project_dir)
        }
        assert recorded.items() >= finished.items()


@pytest.mark.parametrize("damage", ["", '{"trial_id": "1", "hyperp', "[]", None])
@pytest.mark.parametrize("file", ["oracle.json", "trial_1/trial.json", "tuner0.json"])
@pytest.mark.parametrize("has_rows", [True, False])
def test_damaged_files_of_older_versions(file, damage, has_rows, tmp_path, capsys):
    first = quick(RandomSearch, tmp_path, max_trials=3)
    first.search(verbose=0)
    project = Path(first.project_dir)
    path = project / file
    path.unlink() if damage is None else path.write_text(damage)
    if not has_rows:
        shutil.rmtree(project / "results")

    hypermodel = Untrained()
    tuner = quick(RandomSearch, tmp_path, hypermodel, max_trials=5)
    tuner.search(verbose=0)
    status = {row.trial_id: row.status for row in tuner.results.records}
    lost = file.startswith("trial") and not has_rows
    assert status.pop("1") == ("FAILED" if lost else "COMPLETED")
    assert list(status.values()) == ["COMPLETED"] * 4
    assert hypermodel.fits == 2  # nothing is repeated
    assert patterns(tuner)[0] == patterns(first)[0] if has_rows else True
    found = [row.pattern for row in tuner.results.records if row.status != "FAILED"]
    assert len(set(found)) == len(found)
    for row in tuner.results.records:
        trial = tuner.oracle.get_trial(row.trial_id)
        assert trial.score == row.score
    assert ("oracle.json in" in capsys.readouterr().err) == (file == "oracle.json")


def test_projects_of_older_versions_go_on(tmp_path):
    first = quick(GridSearch, tmp_path, max_trials=3)
    first.search(verbose=0)
    project = Path(first.project_dir)
    (project / "search.json").unlink()
    for path in project.glob("results/*.json"):
        row = json.loads(path.read_text())
        for name in ("patterns", "objectives", "started", "ended", "worker"):
            del row[name]
        path.write_text(json.dumps(row))
    for path in project.glob("trial_*/trial.json"):
        trial = json.loads(path.read_text())
        del trial["keras_share"]
        del trial["hyperparameters"]["values"]["sharing.patterns"]
        for name in ("space", "metrics"):
            kept = trial["hyperparameters" if name == "space" else name]
            kept[name] = _without(kept[name], ("sharing.patterns", "parameters"))
        path.write_text(json.dumps(trial))
    hypermodel = Untrained()
    tuner = quick(GridSearch, tmp_path, hypermodel, max_trials=5)
    assert len(tuner.leaderboard()) == 3
    tuner.search(verbose=0)
    assert patterns(tuner) == ALL[:5]
    assert hypermodel.fits == 2


def _without(items, names):
    if isinstance(items, dict):
        return {name: item for name, item in items.items() if name not in names}
    return [item for item in items if item["config"]["name"] not in names]


def test_row_is_made_from_its_trial(tmp_path):
    tuner = quick(
        RandomSearch, tmp_path, max_trials=2, measure=lambda model: {"ram": 7.5}
    )
    tuner.search(verbose=0)
    path = record_files.folder(tuner.project_dir) / "1.json"
    whole = json.loads(path.read_text())
    path.unlink()
    again = quick(
        RandomSearch, tmp_path, max_trials=2, measure=lambda model: {"ram": 7.5}
    )
    again.search(verbose=0)
    made = json.loads(path.read_text())
    for name in ("started", "ended", "seconds"):
        assert made.pop(name) == pytest.approx(whole.pop(name), abs=2)
    assert made == whole


@pytest.mark.parametrize("damage", ["", '{"trial_id": "1", "stat', "[]", "{}"])
def test_damaged_record_is_set_aside(damage, tmp_path):
    quick(GridSearch, tmp_path, max_trials=3).search(verbose=0)
    path = tmp_path / "untitled_project" / "results" / "1.json"
    whole = json.loads(path.read_text())
    path.write_text(damage)
    with pytest.warns(UserWarning, match=r"1\.json' is damaged and left out"):
        results = SearchResults.load(tmp_path / "untitled_project")
    assert [record.trial_id for record in results.records] == ["0", "2"]
    with pytest.warns(UserWarning, match=r"1\.json' is damaged and left out"):
        tuner = quick(GridSearch, tmp_path, max_trials=5)
        tuner.search(verbose=0)
    assert len(tuner.results) == 5
    assert path.with_suffix(".damaged").read_text() == damage
    made = json.loads(path.read_text())
    assert (made["score"], made["pattern"]) == (whole["score"], whole["pattern"])


def test_unreadable_file_is_named(tmp_path):
    quick(RandomSearch, tmp_path, max_trials=1).search(verbose=0)
    path = tmp_path / "untitled_project" / "oracle.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=r"must be readable.*oracle\.json'\. Mend"):
        quick(RandomSearch, tmp_path, max_trials=1)


def test_other_kind_of_search(tmp_path):
    quick(RandomSearch, tmp_path, max_trials=1).search(verbose=0)
    with pytest.raises(
        ValueError, match=r"same kind of search.*has no 'hyperband_iterations'.*overwr"
    ):
        quick(Hyperband, tmp_path, max_epochs=2)


def test_looking_at_a_search_changes_no_file(tmp_path):
    tuner = quick(RandomSearch, tmp_path, max_trials=3)
    tuner.search(verbose=0)
    project = Path(tuner.project_dir)
    state = json.loads((project / "oracle.json").read_text())
    state["ongoing_trials"] = {"tuner0": "2"}  # as if it were still running
    (project / "oracle.json").write_text(json.dumps(state))
    before = {p: p.read_bytes() for p in project.rglob("*") if p.is_file()}
    assert len(quick(RandomSearch, tmp_path, max_trials=3).leaderboard()) == 3
    assert {p: p.read_bytes() for p in project.rglob("*") if p.is_file()} == before


def test_leftovers_are_removed_once_they_are_old(tmp_path):
    quick(RandomSearch, tmp_path, max_trials=1).search(verbose=0)
    old, new = (tmp_path / "untitled_project" / f".{i}.tmp" for i in "ab")
    old.write_text("half")
    new.write_text("being written")
    os.utime(old, (0, 0))
    quick(RandomSearch, tmp_path, max_trials=1).search(verbose=0)
    assert not old.exists()
    assert new.exists()


@pytest.mark.parametrize("cls", [RandomSearch, BayesianOptimization, GridSearch])
def test_sequence_does_not_depend_on_restarts(cls, tmp_path):
    whole = quick(cls, tmp_path / "whole", max_trials=8)
    whole.search(verbose=0)
    for _ in range(4):
        part = quick(cls, tmp_path / "part", max_trials=8, trials_per_process=2)
        part.search(verbose=0)
    assert patterns(part) == patterns(whole)
    assert [r.worker for r in part.results.records] == ["tuner0"] * 8


def test_hyperband_goes_on(tmp_path):
    class Short(Untrained):
        def fit(self, hp, model, callbacks, epochs, initial_epoch):
            return super().fit(hp, model, callbacks)

    def search(folder, **kwargs):
        tuner = quick(Hyperband, folder, Short(), max_epochs=4, factor=2, **kwargs)
        # There are no weights to go on with.
        tuner._build_hypermodel = tuner.hypermodel.build
        tuner.search(verbose=0)
        return [row.hyperparameters for row in tuner.results.records]

    whole = search(tmp_path / "whole")
    assert any("tuner/trial_id" in v for v in whole)
    for _ in range(len(whole)):
        part = search(tmp_path / "part", trials_per_process=1)
    assert part == whole


def test_process_that_dies_twice_in_a_trial(tmp_path):
    def begin():
        tuner = quick(GridSearch, tmp_path, max_trials=3)
        tuner.oracle.verbose = 0
        return tuner.oracle.create_trial("tuner0").trial_id  # and dies

    assert begin() == "0"
    assert begin() == "0"
    assert begin() == "1"
    tuner = quick(GridSearch, tmp_path, max_trials=3)
    tuner.search(verbose=0)
    first, *others = tuner.results.records
    assert first.status == "FAILED"
    assert first.pattern == ALL[0]
    assert first.message.startswith("the process died 2 times while it ran this")
    assert [row.status for row in others] == ["COMPLETED"] * 2


def test_worker_that_dies_twice_in_a_trial(tmp_path, monkeypatch):
    tuner = line(tmp_path)
    for name, value in {
        "ORACLE_IP": "",
        "ORACLE_PORT": "",
        "TUNER_ID": "chief",
    }.items():
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    oracle = tuner.oracle
    assert [oracle.create_trial("tuner1").trial_id for _ in range(3)] == ["0", "0", "1"]
    assert oracle.get_trial("0").status == "FAILED"
    assert record_files.read_one(tuner.project_dir, "0").worker == "tuner1"
    # The process was only slow, and comes back too late.
    late = Trial(oracle.get_space(), "0", "COMPLETED")
    oracle.update_trial("0", {"val_accuracy": 9.0})
    oracle.end_trial(late)
    assert oracle.get_trial("0").status == "FAILED"
    assert oracle.end_order == ["0"]
    # The chief's own end is not that of the workers.
    oracle.save()
    again = line(tmp_path)
    again.oracle.reload()
    assert again.oracle.create_trial("tuner2").trial_id == "1"
    assert again.oracle.create_trial("tuner2").trial_id == "1"


def test_interruption_by_hand_is_no_death(tmp_path):
    class Interrupted(Untrained):
        def fit(self, hp, model, callbacks):
            raise KeyboardInterrupt

    for _ in range(3):
        tuner = quick(GridSearch, tmp_path, Interrupted(), max_trials=2)
        with pytest.raises(KeyboardInterrupt):
            tuner.search(verbose=0)
    rest = quick(GridSearch, tmp_path, max_trials=2, on_change="continue")
    rest.search(verbose=0)
    assert [row.status for row in rest.results.records] == ["COMPLETED"] * 2


def test_retries_are_judged_by_their_own_metrics(tmp_path):
    scores = itertools.chain([float("nan")], itertools.repeat(0.25))
    tuner = quick(
        RandomSearch,
        tmp_path,
        Untrained(lambda pattern: next(scores)),
        max_trials=1,
        max_retries_per_trial=1,
    )
    tuner.search(verbose=0)
    assert [row.score for row in tuner.results.records] == [0.25]
