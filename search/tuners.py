"""Tuners of KerasTuner that record, measure and show their trials.

Each takes the place of its namesake in `keras_tuner`.
"""

import inspect
from typing import Any, ClassVar

import keras_tuner as kt

from . import oracles
from .recording import Recording


class _Search(Recording, kt.Tuner):
    """A tuner that makes its own oracle, from those arguments that the oracle takes."""

    oracle_class: ClassVar[type[kt.Oracle]]

    def __init__(self, hypermodel: Any = None, objective: Any = None, **kwargs: Any):
        taken = inspect.signature(self.oracle_class).parameters
        oracle = self.oracle_class(
            objective=objective,
            **{name: kwargs.pop(name) for name in list(kwargs) if name in taken},
        )
        super().__init__(oracle, hypermodel, **kwargs)


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


class Hyperband(Recording, kt.Hyperband):
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

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_epochs: int = 100,
        **kwargs: Any,
    ):
        super().__init__(hypermodel, objective, max_epochs=max_epochs, **kwargs)
