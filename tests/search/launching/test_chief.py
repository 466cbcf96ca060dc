"""What the chief knows from what its oracle is asked; nothing is served here."""

import io
import json

import pytest
from quick_search import quick

from keras_share.search import RandomSearch
from keras_share.search.launching import chief as chief_module
from keras_share.search.launching.chief import FAREWELL, LOST, Chief
from keras_share.search.launching.events import Reporter, as_metrics, record_in
from keras_share.search.project import record_files
from keras_share.search.project.record import TrialRecord, format_patterns

SCORE = {"val_accuracy": 0.5}
RECORD = TrialRecord(
    trial_id="0",
    status="COMPLETED",
    objectives={"val_accuracy": "max"},
    message="a\n'b'",
)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when told; a list of one number."""
    now = [1000.0]
    monkeypatch.setattr(chief_module.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def chief(tmp_path, clock):
    tuner = quick(RandomSearch, tmp_path, max_trials=2, project_name="p")
    events = []
    made = Chief(tuner, {}, lambda *event: events.append(event))
    made.events, made.folder = events, tmp_path / "p"
    return made


def end(chief, trial, status="COMPLETED"):
    chief.update_trial(trial.trial_id, SCORE)
    trial.status = status
    chief.end_trial(trial)


def test_the_end(chief, clock):
    assert not chief.is_over(set())
    first, second = chief.create_trial("a"), chief.create_trial("b")
    end(chief, first)
    assert chief.create_trial("a").status == "STOPPED"
    assert not chief.is_over({"a", "b"})  # a trial runs
    end(chief, second)
    assert not chief.is_over(set())  # "b" has yet to write its row and to ask
    assert chief.is_over({"b"})
    clock[0] += FAREWELL + 1
    assert chief.is_over(set())  # it stays away
    clock[0] -= FAREWELL
    assert chief.create_trial("b").status == "STOPPED"
    assert chief.is_over(set())
    chief.finish()
    assert chief.error is None


def test_what_runs_is_shown(chief):
    trial = chief.create_trial("a")
    pattern = format_patterns(chief_module.patterns_of(trial.hyperparameters))
    assert chief.events == [("on_trial", "0", "a"), ("on_pattern", pattern, "a")]


def test_a_lost_trial_goes_to_another_worker(chief, clock):
    trial = chief.create_trial("a")
    clock[0] += LOST - 1
    assert not chief.has_lost_trials()
    chief.get_trial(trial.trial_id)  # a sign of life
    clock[0] += LOST - 1
    assert not chief.has_lost_trials()
    other = chief.create_trial("b")
    assert other.trial_id != trial.trial_id
    clock[0] += 2
    assert chief.has_lost_trials()
    end(chief, other)
    taken = chief.create_trial("b")
    assert taken.trial_id == trial.trial_id
    assert taken.hyperparameters.values == trial.hyperparameters.values
    assert not chief.has_lost_trials()
    end(chief, taken)
    end(chief, trial)  # the lost worker was only slow: its trial has ended already
    assert chief.create_trial("b").status == "STOPPED"
    assert len(chief._oracle.end_order) == 2
    clock[0] += FAREWELL + 1
    assert chief.is_over(set())


def test_the_first_worker_gets_its_own_trial_back(chief, clock):
    trial = chief.create_trial("a")
    clock[0] += LOST + 1
    assert chief.create_trial("a").trial_id == trial.trial_id


def test_rows_come_from_afar(chief):
    trial = chief.create_trial("a")
    end(chief, trial)
    chief.events.clear()
    before = chief.get_trial("0").get_state()
    chief.update_trial("0", as_metrics(RECORD))
    assert record_files.read(chief.folder) == (RECORD,)
    assert chief.events == [("on_end", RECORD)]
    assert chief.get_trial("0").get_state() == before


def test_failures_of_the_oracle_end_it(chief, monkeypatch):
    trial = chief.create_trial("a")
    with pytest.raises(KeyError):
        chief.update_trial("7", SCORE)  # of one trial
    assert chief.error is None

    def full(*args):
        raise OSError("no space left")

    monkeypatch.setattr(chief, "_end_trial", full)
    with pytest.raises(OSError, match="no space"):
        end(chief, trial)
    assert str(chief.error) == "no space left"


def test_too_many_failures_are_told_at_the_end(tmp_path):
    tuner = quick(RandomSearch, tmp_path, max_trials=9, max_consecutive_failed_trials=1)
    chief = Chief(tuner, {}, lambda *event: None)
    trial = chief.create_trial("a")
    trial.message = "OSError: it broke"
    trial.status = "FAILED"
    chief.end_trial(trial)
    assert chief.create_trial("a").status == "STOPPED" and chief.is_over(set())
    chief.finish()
    assert "it broke" in str(chief.error)


def test_what_a_worker_tells():
    stream, sent = io.StringIO(), []
    reporter = Reporter(stream, sent.append)
    reporter.on_trial("0")
    assert list(reporter.running) == [""]
    reporter.on_pattern("AB")
    reporter.on_epoch(1, None)
    reporter.on_end(RECORD)
    reporter.tell("on_done")
    assert reporter.running == {} and sent == [RECORD]
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        ["on_trial", "0"],
        ["on_pattern", "AB"],
        ["on_epoch", 1, None],
        ["on_end", RECORD.to_dict()],
        ["on_done"],
    ]


def test_rows_as_metrics():
    assert record_in(as_metrics(RECORD)) == RECORD
    assert record_in(SCORE) is None and record_in({}) is None
    assert list(as_metrics(RECORD).values()) == [0.0]
