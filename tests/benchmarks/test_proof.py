import numpy as np
import pandas as pd
import pytest
from proof import given
from proof.candidate import Candidate
from proof.given import table
from proof.protocol import CONFIRM_SEED, Plan, Protocol
from proof.report import Finals, paired
from proof.task import Task
from proof.text import LENGTH, Text

WORTH = {"AB": 0.7, "ABC": 0.6, "ABAB": 0.8, "AA": 0.9}


class Toy(Task):
    name = "vision"
    candidates = tuple(WORTH)
    rates = (0.1, 0.2)
    load = network = None


class Widths:
    def width(self, task, candidate, budget):
        return 8 * candidate.pattern.num_groups


def follow(rows, count=None):
    """Runs the jobs of a protocol; returns those that were missing."""
    plan = Plan(explore=2, confirm=3, finalists=1)
    keys = ("stage", "candidate", "rate", "seed", "width")
    done = {
        tuple(row[name] for name in keys) for row in rows if row["steps"] == Toy.steps
    }
    made = []
    for job in Protocol(Toy(), 25, plan, Widths(), rows).jobs():
        key = (job.stage, job.candidate, job.rate, job.seed, job.width)
        if key in done:
            continue
        if len(made) == count:
            break
        made.append(key)
        best_rate = 0.2 if Candidate(job.candidate).shares else 0.1
        worth = WORTH.get(job.candidate, 1.0) - (job.rate != best_rate)
        side = Candidate(job.candidate).side
        rows.append({**vars(job), "side": side, "val": worth})
    return made


def test_each_side_has_its_own_rate_and_the_best_are_confirmed():
    rows = []
    made = follow(rows)
    confirmed = [key for key in made if key[0] == "confirm"]
    seeds = [CONFIRM_SEED + i for i in range(3)]
    # The best of either side, and the sharing one at its width without sharing.
    assert confirmed == [
        ("confirm", name, rate, seed, width)
        for finalists in ((("AB", 0.1, 16), ("AA", 0.2, 8)), (("AB", 0.1, 8),))
        for seed in seeds
        for name, rate, width in finalists
    ]


@pytest.mark.parametrize("first", [0, 3, 7, 14])
def test_a_run_that_was_stopped_goes_on_the_same(first):
    whole, rows = [], []
    expected = follow(whole)
    made = follow(rows, first)
    assert made + follow(rows) == expected


def test_trainings_of_another_length_choose_nothing():
    rows = []
    expected = follow(rows)
    others = [{**row, "steps": 10 * row["steps"], "val": -row["val"]} for row in rows]
    assert follow(others) == expected


def test_differences_are_paired_over_seeds():
    rng = np.random.default_rng(0)
    luck = rng.normal(size=5)
    rows = [
        {
            "side": side,
            "candidate": name,
            "width": 8,
            "seed": seed,
            "val": luck[seed] + gain,
            "test": luck[seed] + gain,
            "test_int8": luck[seed] + gain + 0.001 * rng.normal(),
            "bytes": size,
            "cpu_seconds": 1.0,
        }
        for side, name, gain, size in (
            ("unshared", "AB", 0.0, 24_000),
            ("shared", "AABB", 0.01, 25_000),
            ("unshared", "ABCD", 0.1, 48_000),  # over the budget: no rival
        )
        for seed in range(5)
    ]
    finals = Finals("vision", 25, 600, pd.DataFrame(rows), None)
    assert set(finals.best("unshared").candidate) == {"AB"}
    table = finals.table().set_index("network")
    assert float(table.p["AABB"]) < 0.01
    assert "vision, 25 KB, 600 steps: sharing pays (+0.0" in finals.verdict()


def test_what_one_has_no_seed_for_is_left_out_of_a_pair():
    own = pd.Series({1: 2.0, 2: 3.1, 3: 4.0})
    other = pd.Series({1: 1.0, 2: 2.0, 9: 100.0})
    difference, _ = paired(own, other)
    assert difference == pytest.approx(1.05)


def test_text_is_predicted_from_what_comes_before(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"to be or not to be, that is the question " * 100)
    task = Text(str(path), steps=2)
    model = task.network(Candidate("AA"), 8)
    data = task.load(0)
    x = data.x[:1].copy()
    before = model.predict(x, verbose=0)
    x[0, LENGTH // 2] = (x[0, LENGTH // 2] + 1) % len(task.vocabulary)
    changed = np.abs(model.predict(x, verbose=0) - before).max(axis=(0, 2)) > 1e-6
    assert not changed[: LENGTH // 2].any() and changed[LENGTH // 2 :].any()
    assert np.array_equal(data.x[0, 1:], data.y[0, :-1])
    uniform = np.zeros((1, LENGTH, len(task.vocabulary)))
    bits = task.score(uniform, data.y[:1])
    assert bits == pytest.approx(np.log2(len(task.vocabulary)))


def test_a_given_network_is_compared_with_itself_untied():
    rows = [
        {
            "task": "vision",
            "pattern": pattern,
            "seed": seed,
            "bytes": size,
            "test_int8": accuracy + seed * 0.01,
        }
        for pattern, size, accuracy in (("unshared", 100, 0.8), ("shared", 25, 0.7))
        for seed in range(3)
    ]
    untied, tied = table(pd.DataFrame(rows)).to_dict("records")
    assert untied["accuracy"] == "0.8100 ± 0.0100" and untied["difference"] == ""
    assert (tied["of the rival's"], tied["difference"]) == ("0.25", "-0.1000")


def test_a_given_network_is_tied_after_it_was_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(given, "SITES", "AB")
    (tmp_path / "text.txt").write_bytes(b"to be or not to be, " * 400)
    task = Text(tmp_path / "text.txt", steps=20)
    done = {"sequence:4", "sequence:2"}
    untied, tied = given.rows(task, 4, 0, 1.0, done)
    assert (untied["pattern"], tied["pattern"]) == ("unshared", "shared")
    assert tied["parameters"] < untied["parameters"]
    assert tied["bytes"] < untied["bytes"]
