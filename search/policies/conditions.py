"""Which parameters a trial has only where another one has some values: from trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# So many trials, the latest, tell.
_TRIALS = 1000


@dataclass(frozen=True)
class Unless:
    """Holds where a parameter is there, unless it has one of the values, by `repr`."""

    name: str
    values: frozenset[str]

    def is_active(self, values: Mapping[str, Any]) -> bool:
        """Whether it holds, by the values of the parameters before it."""
        return self.name in values and repr(values[self.name]) not in self.values


def conditions(
    points: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, list[Unless]]:
    """What decides whether a trial has a parameter, as far as the trials agree on it.

    Optuna's spaces are what an objective asks for. One parameter may tell whether
    another is asked for: the one with the fewest values of those that the trials don't
    contradict, if there are two trials for each of its values.

    Example:
    >>> points = [{"kind": "plain"}, {"kind": "deep", "depth": 3}] * 2
    >>> conditions(points, ["kind", "depth"])
    {'depth': [Unless(name='kind', values=frozenset({"'plain'"}))]}
    """
    points = points[-_TRIALS:]
    found = {}
    for place, child in enumerate(names):
        present = [point for point in points if child in point]
        if 0 < len(present) < len(points):
            absent = [point for point in points if child not in point]
            candidates = [_parent(name, present, absent) for name in names[:place]]
            known = [candidate for candidate in candidates[::-1] if candidate]
            if known:
                found[child] = [min(known, key=lambda parent: parent[0])[1]]
    return found


def _parent(
    name: str, present: Sequence[Mapping], absent: Sequence[Mapping]
) -> tuple[int, Unless] | None:
    """A parameter that decides, and how many values of it were seen; None if not."""
    if any(name not in point for point in present):
        return None
    active = {repr(point[name]) for point in present}
    inactive = {repr(point[name]) for point in absent if name in point}
    count = len(active) + len(inactive)
    if active & inactive or 2 * count > len(present) + len(absent):
        return None
    is_telling = inactive or any(name not in point for point in absent)
    return (count, Unless(name, frozenset(inactive))) if is_telling else None
