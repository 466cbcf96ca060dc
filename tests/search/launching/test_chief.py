"""What the chief knows from what its oracle is asked; nothing is served here."""

import io
import json

import keras_tuner as kt
import pytest
from quick_search import Untrained, quick

from keras_share.search import RandomSearch
from keras_share.search.launching import chief as chief_module
from keras_share.search.launching.chief import FAREWELL, LOST, Chief
from keras_share.search.launching.events import Reporter, as_metrics, record_in
from keras_share.search.project import record_files
from keras_share.search.project.record import TrialRecord, format_patterns
from keras_share.search.tuner.durable import Durable
from keras_share.search.tuner.recording import Recording

SCORE = {"val_accuracy": 0.5}
RECORD = TrialRecord(
    trial_id="0",
    status="COMPLETED",
    objectives={"val_accuracy": "max"},
    message="a\n'b'",
)


class Stock(Recording, kt.Tuner):
    """A tuner with an oracle that is not ours."""


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
    assert chief.create_trial("a").status == "IDLE"  # the other may yet get lost
    end(chief, second)
    assert not chief.is_over({"b"})  # "a" has yet to hear of it
    assert chief.create_trial("a").status == "STOPPED"
    assert not chief.is_over(set())  # "b" has yet to write its row and to ask
    assert chief.is_over({"b"})
    clock[0] += FAREWELL + 1
    assert chief.is_over(set())  # it stays away
    clock[0] -= FAREWELL
    assert chief.create_trial("b").status == "STOPPED"
    assert chief.is_over(set())
    chief.finish()
    assert chief.error is None


def test_the_tuner_asks_the_chief(chief):
    """And finds all else where it was."""
    oracle = chief._tuner.oracle
    assert isinstance(oracle, Durable)
    oracle.verbose = 7
    assert chief._oracle.verbose == 7 and oracle.max_trials == 2
    trial = oracle.create_trial("a")
    oracle.update_trial("0", as_metrics(RECORD))
    assert [event for event, *_ in chief.events] == ["on_trial", "on_pattern", "on_end"]
    assert oracle.get_trial("0").trial_id == trial.trial_id
    trial.status = "FAILED"
    oracle.end_trial(trial)
    assert oracle.end_order == ["0"]


def test_what_runs_is_shown(chief):
    trial = chief.create_trial("a")
    pattern = format_patterns(chief_module.patterns_of(trial.hyperparameters))
    assert chief.events == [("on_trial", "0", "a"), ("on_pattern", pattern, "a")]


SIGNS = {
    "seen alive": lambda chief: chief.hear(["0"]),
    "asked for": lambda chief: chief.get_trial("0"),
    "an epoch": lambda chief: chief.update_trial("0", SCORE, step=1),
    "a row": lambda chief: chief.update_trial("0", as_metrics(RECORD)),
}


@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS)
def test_signs_of_life(chief, clock, sign):
    trial = chief.create_trial("a")
    assert trial.trial_id == "0"
    clock[0] += LOST - 1
    sign(chief)
    clock[0] += LOST - 1
    assert chief.create_trial("b").trial_id != trial.trial_id


def test_a_lost_trial_goes_to_another_worker(chief, clock):
    trial = chief.create_trial("a")
    other = chief.create_trial("b")
    assert other.trial_id != trial.trial_id
    end(chief, other)
    assert chief.create_trial("b").status == "IDLE"
    clock[0] += LOST + 1
    taken = chief.create_trial("b")
    assert taken.trial_id == trial.trial_id
    assert taken.hyperparameters.values == trial.hyperparameters.values
    assert chief.create_trial("a").status == "IDLE"  # "b" has it
    end(chief, taken)
    end(chief, trial)  # the lost worker was only slow: its trial has ended already
    assert chief.create_trial("b").status == "STOPPED"
    assert len(chief._oracle.end_order) == 2
    clock[0] += FAREWELL + 1
    assert chief.is_over(set())


def test_slow_is_not_dead(chief, clock):
    """A trial fails that its process died of twice, not one that nobody heard of."""
    trial = chief.create_trial("a")
    for worker in ("b", "c", "d"):
        clock[0] += LOST + 1
        taken = chief.create_trial(worker)
        assert (taken.trial_id, taken.status) == (trial.trial_id, "RUNNING")
    end(chief, trial)  # "a" was slow
    assert chief.get_trial("0").status == "COMPLETED"
    assert chief.get_trial("0").message is None


def test_a_trial_that_its_process_dies_of(chief):
    for _ in range(2):
        assert chief.create_trial("a").trial_id == "0"
    assert chief.create_trial("a").trial_id == "1"
    assert "the process died 2 times" in chief.get_trial("0").message


def test_an_oracle_of_another_kind(tmp_path, clock):
    stock = kt.oracles.RandomSearchOracle("val_accuracy", max_trials=1)
    tuner = Stock(stock, Untrained(), directory=tmp_path, export=None)
    chief = Chief(tuner, {}, lambda *event: None)
    assert tuner.oracle.create_trial("a").trial_id == "0"
    clock[0] += LOST + 1
    trial = tuner.oracle.create_trial("b")
    assert trial.trial_id == "0"
    assert set(stock.ongoing_trials) == {"b"}
    end(chief, trial)
    assert tuner.oracle.create_trial("b").status == "STOPPED"


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

    monkeypatch.setattr(chief._oracle, "end_trial", full)
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
    reporter.on_pattern("AB")
    reporter.on_epoch(1, None)
    reporter.on_end(RECORD)
    reporter.tell("on_done")
    assert sent == [RECORD]
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
