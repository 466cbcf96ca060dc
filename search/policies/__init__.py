"""What to try next: policies over the values of a search.

A policy sees points, trials and limits, and nothing of KerasTuner's oracles or of
models.
"""

from typing import Any

from keras_share.search.policies.evolution import EvolutionPolicy
from keras_share.search.policies.history import Observation, Problem
from keras_share.search.policies.policy import Policy, RandomPolicy
from keras_share.search.policies.starts import StartWith
from keras_share.search.policies.surrogate_policy import SurrogatePolicy
from keras_share.search.policies.values import Point, ValueSpace

POLICIES = {
    "surrogate": SurrogatePolicy,
    "evolution": EvolutionPolicy,
    "random": RandomPolicy,
}

__all__ = [
    "POLICIES",
    "EvolutionPolicy",
    "Observation",
    "Point",
    "Policy",
    "Problem",
    "RandomPolicy",
    "StartWith",
    "SurrogatePolicy",
    "ValueSpace",
    "get",
]


def get(policy: Any) -> Policy:
    """A policy from its name, or as it is.

    Raises:
        ValueError: If it is neither.

    Example:
    >>> type(get("evolution")).__name__
    'EvolutionPolicy'
    """
    if isinstance(policy, Policy):
        return policy
    if not isinstance(policy, str) or policy not in POLICIES:
        raise ValueError(
            f"`policy` must be one of {', '.join(map(repr, POLICIES))}, or a policy of "
            f"keras_share.search.policies. Received: policy={policy!r}"
        )
    return POLICIES[policy]()
