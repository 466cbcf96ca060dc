"""Tuners that record, measure and show their trials.

`SharingSearch` has an oracle of its own; each of the others takes the place of its
namesake in `keras_tuner`.
"""

import inspect
from typing import Any, ClassVar

import keras_tuner as kt

from keras_share.search.engine import Trial, seed_of
from keras_share.search.project.earlier import observations
from keras_share.search.trial import budget, objectives
from keras_share.search.tuner import oracles, processes
from keras_share.search.tuner.recording import Recording
from keras_share.search.tuner.sharing_oracle import SharingOracle


class _Search(Recording, kt.Tuner):
    """A tuner that makes its own oracle, from those arguments that the oracle takes."""

    oracle_class: ClassVar[type[kt.Oracle]]

    def __init__(self, hypermodel: Any = None, objective: Any = None, **kwargs: Any):
        taken = inspect.signature(self.oracle_class).parameters
        several = objectives.get(objective)
        if "seed" in kwargs:
            kwargs["seed"] = seed_of(kwargs["seed"])
        sees_all = issubclass(self.oracle_class, SharingOracle)
        oracle = self.oracle_class(
            objective=several if sees_all else several[0],
            **{name: kwargs.pop(name) for name in list(kwargs) if name in taken},
        )
        oracle.objectives = several
        super().__init__(oracle, hypermodel, **kwargs)


class SharingSearch(_Search):
    """A search that knows what a sharing pattern is, and several objectives at once.

    A Gaussian process learns from the trials which sites like to share, beside what
    other hyperparameters do; of several objectives it seeks the Pareto front by
    expected improvement of the hypervolume. Nothing is trained twice. Takes the place
    of any tuner of `keras_tuner`.

    Args:
        hypermodel: Function from `keras_tuner.HyperParameters` to a compiled model, or
            a `keras_tuner.HyperModel`.
        objective: Name of a metric (`"val_accuracy"`), a `keras_tuner.Objective`, or a
            list: metrics, of which the first tells the best epoch, and measures of the
            exported file (`"exported_bytes"`, `"weight_bytes"`, `"macs"`,
            `"estimated_memory_bytes"`, `"latency_ms"`, `"memory_bytes"`).
        max_trials: At most this many trials, rejected ones not counted; None for no
            limit.
        policy: What proposes trials: `"surrogate"`, `"evolution"` or `"random"`, or an
            object of `keras_share.search.policies`.
        earlier: An earlier search to learn from: the path to its folder, or to the CSV
            file of its leaderboard.
        max_bytes: The most that an exported file may have. Candidates that are larger
            are avoided, and rejected before they are trained.
        max_latency: The same for the time of a run in LiteRT, in milliseconds.
        inherit: A trained model, or the path to a `.keras` file of one, usually without
            sharing: each trial starts from the means of its weights.
        pruning: Stops hopeless trials early: `"median"`, `"halving"`, or a rule of
            `keras_share.search.trial.pruning`.
        export: Keyword arguments of `keras_share.export_tflite`, which gives each
            trial its `exported_bytes`. None exports nothing.
        measure: Optional function from a built model to a dictionary of numbers:
            further columns of the leaderboard.
        **kwargs: `seed`, `directory`, `project_name`, `overwrite`, and what else
            `keras_tuner.RandomSearch` takes; `keep_checkpoints`, `on_change` and
            `trials_per_process` as `Recording` does.

    Raises:
        ValueError: If an argument is none of these.

    Example:
    ```python
    tuner = SharingSearch(
        build, ["val_accuracy", "exported_bytes"], max_trials=30, directory="runs"
    )
    tuner.search(x, y, validation_split=0.2, epochs=5)
    print(tuner.pareto_front())
    ```
    """

    oracle_class = SharingOracle

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_trials: int | None = 10,
        policy: Any = "surrogate",
        earlier: Any = None,
        **kwargs: Any,
    ):
        several = objectives.get(objective)
        super().__init__(
            hypermodel,
            objective,
            max_trials=max_trials,
            policy=policy,
            earlier=() if earlier is None else observations(earlier, several),
            limits=budget.limits(kwargs.get("max_bytes"), kwargs.get("max_latency")),
            **kwargs,
        )

    def recommended(self) -> Trial | None:
        """The trial to hand over; see `SharingOracle.recommended`.

        Raises:
            RuntimeError: In a worker, which does not have the trials of the others.
        """
        if processes.is_worker():
            raise RuntimeError(
                "`recommended` needs all trials, which only the chief of a search has. "
                f"Received: a call in worker {processes.tuner_id()!r}. Call it in a "
                "process of its own once the search has ended: the same script "
                "without KERASTUNER_ORACLE_IP reads what was found."
            )
        return self.oracle.recommended()


class RandomSearch(_Search):
    """Random search in which no two trials have the same values.

    Takes the place of `keras_tuner.RandomSearch`. It stops when every value of a
    finite search space has been tried, and not before.

    Args:
        hypermodel: Function from `keras_tuner.HyperParameters` to a compiled model, or
            a `keras_tuner.HyperModel`.
        objective: Name of a metric, or a `keras_tuner.Objective`.
        max_trials: At most this many trials.
        export: Keyword arguments of `keras_share.export_tflite`, which gives each
            trial its `exported_bytes`. None exports nothing.
        measure: Optional function from a built model to a dictionary of numbers:
            further columns of the leaderboard.
        **kwargs: All other arguments of `keras_tuner.RandomSearch`, such as `seed`,
            `executions_per_trial`, `directory`, `project_name` and `overwrite`.

    Example:
    ```python
    def build(hp):
        pattern = sharing_pattern(hp, num_sites=4, max_groups=2)
        layers = [keras.layers.Dense(8, activation="relu") for _ in pattern.groups]
        inputs = outputs = keras.Input((8,))
        for group in pattern.labels:
            outputs = layers[group](outputs)
        model = keras.Model(inputs, keras.layers.Dense(1)(outputs))
        model.compile("adam", "mse")
        return model

    tuner = RandomSearch(build, "val_loss", max_trials=8, directory="runs")
    tuner.search(x, y, validation_split=0.2, epochs=5)
    print(tuner.leaderboard())
    tuner.results.plot_pareto("pareto.png")
    ```
    """

    oracle_class = oracles.RandomSearchOracle

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_trials: int = 10,
        **kwargs: Any,
    ):
        super().__init__(hypermodel, objective, max_trials=max_trials, **kwargs)


class BayesianOptimization(_Search):
    """Bayesian optimization in which no two trials have the same values.

    Takes the place of `keras_tuner.BayesianOptimization`. Where the Gaussian process
    proposes values that have been tried, a random draw of untried ones replaces them.

    Args:
        hypermodel: Function from `keras_tuner.HyperParameters` to a compiled model, or
            a `keras_tuner.HyperModel`.
        objective: Name of a metric, or a `keras_tuner.Objective`.
        max_trials: At most this many trials.
        export: See `RandomSearch`.
        measure: See `RandomSearch`.
        **kwargs: All other arguments of `keras_tuner.BayesianOptimization`, such as
            `num_initial_points`, `alpha`, `beta`, `seed` and `directory`.
    """

    oracle_class = oracles.BayesianOptimizationOracle

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_trials: int = 10,
        **kwargs: Any,
    ):
        if len(objectives.get(objective)) > 1:
            raise ValueError(
                "BayesianOptimization must have one objective: it knows one number "
                f"only. Received: objective={objective!r}. SharingSearch seeks the "
                "Pareto front of several."
            )
        super().__init__(hypermodel, objective, max_trials=max_trials, **kwargs)


class GridSearch(_Search):
    """Grid search, which may be interrupted and goes on.

    Takes the place of `keras_tuner.GridSearch`.

    Args:
        hypermodel: Function from `keras_tuner.HyperParameters` to a compiled model, or
            a `keras_tuner.HyperModel`.
        objective: Name of a metric, or a `keras_tuner.Objective`.
        max_trials: At most this many trials; None for the whole grid.
        export: See `RandomSearch`.
        measure: See `RandomSearch`.
        **kwargs: All other arguments of `keras_tuner.GridSearch`.
    """

    oracle_class = oracles.GridSearchOracle

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_trials: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(hypermodel, objective, max_trials=max_trials, **kwargs)


class _HyperbandTrials(kt.Hyperband):
    """KerasTuner's way to continue trials, for an oracle that is given."""

    def __init__(self, *args: Any, **kwargs: Any):
        kt.Tuner.__init__(self, *args, **kwargs)  # `kt.Hyperband` makes its own oracle


class Hyperband(_Search, _HyperbandTrials):
    """Hyperband: many short trials, of which the best are continued.

    Takes the place of `keras_tuner.Hyperband`. A trial continued for more epochs is a
    new trial and a new row with the same pattern; its `hp/tuner/trial_id` names the
    trial it continues.

    KerasTuner ends the search, whatever could still be continued, when it finds no
    untried values to start a trial with. So the space should hold more patterns than
    Hyperband starts trials: for few patterns take `GridSearch`.

    Args:
        hypermodel: Function from `keras_tuner.HyperParameters` to a compiled model, or
            a `keras_tuner.HyperModel`.
        objective: Name of a metric, or a `keras_tuner.Objective`.
        max_epochs: Epochs of the trials that survive.
        export: See `RandomSearch`.
        measure: See `RandomSearch`.
        **kwargs: All other arguments of `keras_tuner.Hyperband`, such as `factor` and
            `hyperband_iterations`.
    """

    oracle_class = oracles.HyperbandOracle

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_epochs: int = 100,
        **kwargs: Any,
    ):
        super().__init__(hypermodel, objective, max_epochs=max_epochs, **kwargs)
