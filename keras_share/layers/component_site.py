"""`ComponentSite`: a site that shares its parts with different earlier sites."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_share.layers import private as private_spec
from keras_share.layers.components import components_by_weight
from keras_share.layers.sublayers import Untracked
from keras_share.layers.substitute import build_by_call, needs_several_inputs
from keras_share.layers.tied import Tied, site_weights, value_of
from keras_share.layers.variable_map import VariableMap
from keras_share.pattern.sharing_pattern import SharingPattern


class ComponentSite(Tied):
    """One site of a stack in which each part of the block has its own pattern.

    It runs the block of an earlier site. Of each weight it has a copy of its own, with
    a start of its own, where this is the first site of the group of the weight's part,
    or the part is not shared; else it uses what the first site of the group does.

    Args:
        layer: The block of an earlier site.
        private: As in `Tied`.
        patterns: The pattern of each part that is shared, by name.
        earlier: The sites before this one.
        new_block: Makes a block with fresh weights.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(
        self,
        layer: keras.Layer,
        private: private_spec.Private,
        patterns: dict[str, SharingPattern],
        earlier: Sequence[keras.Layer],
        new_block: Callable[[], keras.Layer],
        **kwargs: Any,
    ):
        super().__init__(layer, private, **kwargs)
        # The stack owns these; tracked here too, they would nest ever deeper.
        self._earlier = Untracked(tuple(earlier))
        self._patterns = Untracked(patterns)
        self._new_block = new_block

    def _own_weights(self, input_shape: Any) -> list[tuple[keras.Variable, Any]]:
        patterns = self._patterns.value
        earlier = self._earlier.value
        private = VariableMap(super()._own_weights(input_shape))
        parts = components_by_weight(self.layer, list(patterns))
        fresh: list[keras.Variable] = []
        own: list[tuple[keras.Variable, Any]] = []
        lent: list[tuple[keras.Variable, keras.Variable]] = []
        for position, variable in enumerate(self.layer.weights):
            part = parts.get(variable)
            owner = first_site(patterns.get(part), len(earlier))
            if variable in private:
                own.append((variable, private[variable]))
            elif owner == len(earlier):
                fresh = fresh or self._fresh_weights(input_shape)
                own.append((variable, value_of(fresh[position])))
            else:
                lender = site_weights(earlier[owner])[position]
                if lender is not variable:
                    lent.append((variable, lender))
        self._lent = Untracked(lent)
        return own

    def _fresh_weights(self, input_shape: Any) -> list[keras.Variable]:
        block = self._new_block()
        if needs_several_inputs(block):
            block.build_from_config(self.layer.get_build_config())
        else:
            build_by_call(block, input_shape, self.compute_dtype)
        return block.weights

    @property
    def private_copies(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """Pairs of a variable of the block and what this site has in its place."""
        return super().private_copies + self._lent.value


def first_site(pattern: SharingPattern | None, site: int) -> int:
    """The first site of the group of a site; the site itself without a pattern."""
    return site if pattern is None else pattern.labels.index(pattern.labels[site])
