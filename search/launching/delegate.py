"""An oracle that others answer for."""

from collections.abc import Callable
from typing import Any

import wrapt


class Delegate(wrapt.ObjectProxy):
    """An oracle in all but the methods that are given.

    Example:
    >>> heard = []
    >>> text = Delegate("an oracle", upper=lambda: heard.append("upper"))
    >>> text.upper(), text.title(), heard, isinstance(text, str)
    (None, 'An Oracle', ['upper'], True)
    """

    def __init__(self, oracle: Any, **methods: Callable):
        super().__init__(oracle)
        self._self_methods = methods

    def __getattr__(self, name: str) -> Any:
        return self._self_methods.get(name) or getattr(self.__wrapped__, name)
