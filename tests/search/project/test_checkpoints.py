"""The disk a search takes is bounded."""

from dataclasses import replace
from pathlib import Path

import keras_tuner as kt
import pytest
import synthetic_search as synthetic
from quick_search import DATA, Untrained, build, quick, size

from keras_share.search import SharingSearch
from keras_share.search.project import checkpoints
from keras_share.search.trial import objectives


class Saving(SharingSearch):
    """Leaves a file of 100 KB as the weights of each trial."""

    def run_trial(self, trial):
        path = Path(self.get_trial_dir(trial.trial_id), "checkpoint.weights.h5")
        path.write_bytes(bytes(100_000))
        return super().run_trial(trial)


def weights(tuner):
    return {
        path.parent.name.removeprefix("trial_")
        for path in Path(tuner.project_dir).glob("trial_*/checkpoint*")
    }


def disk(tuner):
    # The log of the last changes has a bound of its own, some 4 MB.
    files = [p for p in Path(tuner.project_dir).rglob("*") if p.name != "study.db-wal"]
    return sum(path.stat().st_size for path in files if path.is_file())


@pytest.mark.parametrize("keep", [0, 1, 3, None])
def test_only_the_best_stay(keep, tmp_path):
    scores = iter([0.5, 0.9, 0.1, 0.7, 0.8, 0.2, 0.6])
    hypermodel = Untrained(lambda pattern: next(scores))
    best = {0: set(), 1: {"1"}, 3: {"1", "4", "3"}, None: set("0123456")}
    tuner = quick(Saving, tmp_path, hypermodel, max_trials=7, keep_checkpoints=keep)
    tuner.search(verbose=0)
    assert weights(tuner) == best[keep]


def test_of_several_objectives_the_front_stays_too(tmp_path):
    class Two(Untrained):
        def fit(self, hp, model, callbacks):
            return dict(zip(("val_accuracy", "cost"), next(scores), strict=True))

    cost = kt.Objective("cost", "min")
    for keep in range(4):
        scores = iter([(0.5, 5.0), (0.9, 9.0), (0.6, 4.0), (0.8, 9.5), (0.2, 1.0)])
        tuner = Saving(
            *(Two(), ["val_accuracy", cost], 5),
            **{"export": None, "keep_checkpoints": keep},
            directory=tmp_path / str(keep),
        )
        tuner.search(verbose=0)
        front = {"1", "2", "4"}
        assert len(weights(tuner) & front) == min(keep, 3)
        assert len(weights(tuner)) <= 2 * keep


def test_less_is_better_for_a_loss(tmp_path):
    scores = iter([0.5, 0.9, 0.1, 0.7])

    class Loss(Untrained):
        def fit(self, hp, model, callbacks):
            return {"val_loss": next(scores)}

    tuner = Saving(
        Loss(), "val_loss", 4, export=None, keep_checkpoints=2, directory=tmp_path
    )
    tuner.search(verbose=0)
    assert weights(tuner) == {"0", "2"}


def test_disk_per_trial(tmp_path):
    used = []
    for trials in (5, 10, 15):
        tuner = quick(Saving, tmp_path, max_trials=trials)
        tuner.search(verbose=0)
        used.append(disk(tuner))
    assert used[0] > 5 * 100_000
    assert used[-1] - used[0] < 10 * 5000  # rows of the tables


def test_failed_trials_leave_no_weights(tmp_path):
    def score(pattern):
        raise OSError("no")

    tuner = quick(
        Saving,
        tmp_path,
        Untrained(score),
        max_trials=4,
        keep_checkpoints=9,
        max_consecutive_failed_trials=9,
    )
    tuner.search(verbose=0)
    assert weights(tuner) == set()


def test_models_that_are_kept_can_be_loaded(tmp_path):
    tuner = SharingSearch(
        build,
        "val_accuracy",
        max_trials=3,
        keep_checkpoints=1,
        directory=tmp_path,
        export=None,
        measure=size,
    )
    tuner.search(**DATA, epochs=1, verbose=0)
    (model,) = tuner.get_best_models()
    assert model.count_params() == tuner.leaderboard()["parameters"][0]
    with pytest.raises(
        FileNotFoundError,
        match=r"best `keep_checkpoints` \(1\) trials.*Received: trial \d.*Train it",
    ):
        tuner.get_best_models(2)


def test_running_trials_are_left_alone(tmp_path):
    tuner = quick(Saving, tmp_path, max_trials=2)
    tuner.search(verbose=0)
    running = Path(tuner.get_trial_dir("9"), "checkpoint.weights.h5")
    running.write_bytes(b"being trained")
    checkpoints.remove(tuner.project_dir, tuner.oracle.project.ended(), set())
    assert weights(tuner) == {"9"}


def test_of_a_long_front_its_ends_and_the_lonely_stay():
    # Trials 0 to 3 lie close to each other; 4 is an end, 5 is lonely, 6 the other end.
    places = [4.0, 4.1, 4.2, 4.3, 0.0, 7.0, 10.0]
    both = objectives.get(["val_accuracy", "exported_bytes"])
    records = [
        replace(
            record,
            score=place / 10,
            metrics={"val_accuracy": place / 10},
            measures={"exported_bytes": int(1000 * place)},
        )
        for record, place in zip(
            synthetic.search(trials=7).records, places, strict=True
        )
    ]

    def kept(most):
        """Those of the best scores too, which are 6, 5, 3 and 2."""
        return checkpoints.best(records, both, most)

    assert kept(2) == {"006", "005"} | {"004", "006"}
    assert kept(3) == {"006", "005", "003"} | {"004", "006", "005"}
    assert kept(4) == {"006", "005", "003", "002"} | {"004", "006", "005", "000"}
    assert len(kept(9)) == 7 and kept(0) == set()
