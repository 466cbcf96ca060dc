"""States: what a model of one step takes and returns under one name."""

import re
from collections.abc import Mapping
from typing import Any

_STATE = re.compile(r"\.state(_\d+)?$")


def state_name(owner: str, number: int = 0) -> str:
    """The name of a state of the layer or operation `owner`."""
    return f"{owner}.state_{number}" if number else f"{owner}.state"


def states_of(model: Any) -> list[str]:
    """The names of the states of a model, `state_names` of its inputs and outputs."""
    # A Sequential model need not have an input.
    takes = getattr(model, "input", None)
    return state_names(takes, model.output) if isinstance(takes, Mapping) else []


def state_names(inputs: Any, outputs: Any) -> list[str]:
    """The names of the states among the inputs and outputs of a model, in order.

    They are keys of both, of a form that other inputs don't have: so a model keeps its
    states through copies, files and quantization.
    """
    if not isinstance(inputs, Mapping) or not isinstance(outputs, Mapping):
        return []
    return [k for k in inputs if k in outputs and _STATE.search(str(k))]
