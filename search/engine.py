"""What KerasTuner does not name at its top, taken from inside it in this one place.

An oracle is asked for trials and answers with them, and the kinds of hyperparameters
have bounds and steps: KerasTuner names neither there. `infer_metric_direction` knows
Keras's metrics. `tests/search/test_engine.py` fails when a release of KerasTuner has
changed any of it, or what `tuner/` overrides of its tuners and oracles.
"""

from keras_tuner.engine.hyperparameters import (
    Boolean,
    Choice,
    Fixed,
    Float,
    HyperParameter,
    Int,
)
from keras_tuner.engine.metrics_tracking import infer_metric_direction
from keras_tuner.engine.trial import Trial, TrialStatus

# KerasTuner draws a seed where it is given 0, as where it is given None.
_FOR_ZERO = 2**31 - 1


def seed_of(seed: int | None) -> int | None:
    """A seed as KerasTuner is to be given it, for which 0 is one like others."""
    return _FOR_ZERO if seed == 0 else seed


__all__ = [
    "Boolean",
    "Choice",
    "Fixed",
    "Float",
    "HyperParameter",
    "Int",
    "Trial",
    "TrialStatus",
    "infer_metric_direction",
    "seed_of",
]
