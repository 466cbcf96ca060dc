"""`VariableMap`: what stands in for variables."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TypeVar

import keras

T = TypeVar("T")


class VariableMap(MutableMapping[keras.Variable, T]):
    """A dict whose keys are variables, each told from others by identity.

    Keras variables compare by value and have no hash. The map holds on to its keys, so
    that no other variable can get the id of one.

    Args:
        pairs: Pairs of a variable and what stands in for it, or a mapping.

    Example:
    >>> import keras
    >>> from keras_share.layers.variable_map import VariableMap
    >>> one, other = keras.Variable([1.0]), keras.Variable([1.0])
    >>> own = VariableMap([(one, "its own")])
    >>> own[one], other in own, own.of(other) is other
    ('its own', False, True)
    """

    def __init__(
        self,
        pairs: Mapping[keras.Variable, T] | Iterable[tuple[keras.Variable, T]] = (),
    ):
        self._pairs: dict[int, tuple[keras.Variable, T]] = {}
        self.update(pairs)

    def of(self, variable: keras.Variable) -> T | keras.Variable:
        """What stands in for a variable: itself where nothing does."""
        return self.get(variable, variable)

    def __getitem__(self, variable: keras.Variable) -> T:
        return self._pairs[id(variable)][1]

    def __setitem__(self, variable: keras.Variable, stand_in: T) -> None:
        self._pairs[id(variable)] = (variable, stand_in)

    def __delitem__(self, variable: keras.Variable) -> None:
        del self._pairs[id(variable)]

    def __iter__(self) -> Iterator[keras.Variable]:
        return (variable for variable, _ in self._pairs.values())

    def __len__(self) -> int:
        return len(self._pairs)
