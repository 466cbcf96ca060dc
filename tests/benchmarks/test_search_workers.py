import optuna
import search_workers


def test_a_worker_ends_its_share_of_trials(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(study_name="one", storage=storage)
    search_workers.work("SharingSampler", storage, "one", 5, seed=0)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 5
    assert len({trial.user_attrs["sharing"] for trial in study.trials}) == 5
