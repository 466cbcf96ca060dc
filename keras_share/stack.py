"""`SharedStack`: a block applied at N sites by a sharing pattern."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_share import private as private_spec
from keras_share.pattern import SharingPattern
from keras_share.substitute import accepts_training, needs_several_inputs
from keras_share.tied import Tied, TiedCloner


@dataclass(frozen=True)
class Site:
    """What one site of a stack uses: its group and its numbers of parameters."""

    index: int
    group: int
    layer: str
    shared_params: int
    private_params: int


@keras.saving.register_keras_serializable(package="keras_share")
class SharedStack(keras.Layer):
    """Applies a block at every site of a pattern, with one block per group.

    The first site of a group uses its block as it is; each further site is a
    `keras_share.Tied` use of it. The stack therefore holds `num_groups` times the
    block's shared weights and `num_sites` times its private ones, and with
    `num_groups == num_sites` it computes what a plain loop over separate layers does,
    bit for bit.

    Sharing all layers is ALBERT's way (arXiv 1909.11942); see `SharingPattern` for
    the patterns of the literature.

    Args:
        block: What repeats: a layer, which is copied by its config (its weights, if
            any, are not); a function without arguments that returns a new layer; or a
            list with one layer per group, used as they are.
        pattern: Which sites share, as `SharingPattern.get` reads it: a pattern, labels
            such as `"AABB"`, or a family such as `"cycle:2"`. None shares nothing.
        private: What each site keeps for itself; see `Tied`.
        num_sites: Number of sites. Needed where `pattern` doesn't say, as in
            `"cycle:2"` or None.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Tensor, the input of the first site; each further site takes the
            output of the one before it.
        *args, **kwargs: Passed to the block at every site.

    Raises:
        ValueError: If the pattern is malformed, `block` gives no layers, `private`
            names nothing inside the block, or a site's output can't feed the next.

    Example:
    >>> import keras, keras_share
    >>> stack = keras_share.SharedStack(
    ...     keras.layers.Dense(8, activation="relu"), "cycle:2", num_sites=6
    ... )
    >>> model = keras.Sequential([keras.Input((8,)), stack])
    >>> model.count_params()  # two Dense layers of 72 parameters for six sites
    144
    """

    def __init__(
        self,
        block: keras.Layer | Callable[[], keras.Layer] | Sequence[keras.Layer],
        pattern: Any = None,
        private: private_spec.Private = private_spec.NORMALIZATION,
        num_sites: int | None = None,
        **kwargs: Any,
    ):
        # The blocks cast their own inputs and variables.
        super().__init__(autocast=False, **kwargs)
        self.pattern = SharingPattern.get(pattern, num_sites)
        self.private = private_spec.standardize(private)
        self.blocks = _blocks(block, self.pattern)
        self.sites = []
        for site, group in enumerate(self.pattern.labels):
            layer = self.blocks[group]
            if site != self.pattern.groups[group][0]:
                layer = Tied(layer, self.private, name=f"{layer.name}_site_{site}")
            self.sites.append(layer)
        self.supports_masking = all(b.supports_masking for b in self.blocks)

    @property
    def layers(self) -> list[keras.Layer]:
        """The layer of each site; `summary(expand_nested=True)` lists them."""
        return list(self.sites)

    def build(self, input_shape: Any) -> None:
        """Builds block after block on the shape that reaches its first site."""
        shape = input_shape
        for site, layer in enumerate(self.sites):
            shape = self._build_site(site, layer, shape)
            if site == 0:
                # Bad names are told here, not as a failure of a later site.
                private_spec.private_variables(layer, self.private)
        self.built = True

    def _build_site(self, site: int, layer: keras.Layer, shape: Any) -> Any:
        # By a symbolic call and not by `build`: a composite layer need not have one,
        # and the call also checks that the shape fits.
        block = self.blocks[self.pattern.labels[site]]
        if needs_several_inputs(block):
            if not block.built:
                raise ValueError(
                    f"Blocks with several inputs must be built before the stack is. "
                    f"Pass a list of blocks that were called, one per group. Received: "
                    f"block '{block.name}', not built"
                )
            if layer is not block:
                layer.build(shape)
            return shape
        try:
            outputs = layer(keras.KerasTensor(shape, dtype=self.compute_dtype))
        except (ValueError, TypeError) as error:
            first = self.pattern.groups[self.pattern.labels[site]][0]
            if site == first:
                raise
            raise ValueError(
                "The output of each site must fit the input of the next. In "
                f"'{self.name}' with pattern {self.pattern}, site {site} receives "
                f"shape {shape}, but its block '{block.name}' was built at site "
                f"{first} for another. Use a block that keeps the shape of its input, "
                f"or give site {site} a group of its own."
            ) from error
        if not isinstance(outputs, keras.KerasTensor):
            raise ValueError(
                "A block of a SharedStack must return one tensor, the input of the "
                f"next site. Received: block '{block.name}' with outputs {outputs}"
            )
        return outputs.shape

    def call(
        self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any
    ) -> Any:
        x = inputs
        for layer in self.sites:
            mode = {"training": training} if accepts_training(layer) else {}
            x = layer(x, *args, **mode, **kwargs)
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        inputs = keras.KerasTensor(input_shape, dtype=self.compute_dtype)
        return self.compute_output_spec(inputs).shape

    def compute_output_spec(
        self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any
    ) -> Any:
        x = inputs
        for layer in self.sites:
            x = layer.compute_output_spec(x, *args, **kwargs)
        return x

    def sharing(self) -> list[Site]:
        """One `Site` per site, with its group and numbers of parameters.

        Raises:
            ValueError: If the stack is not built.
        """
        if not self.built:
            raise ValueError(
                f"'{self.name}' has no weights yet. Build it first: call it on data or "
                "put it into a model with an Input."
            )
        rows = []
        for index, group in enumerate(self.pattern.labels):
            block = self.blocks[group]
            private = private_spec.private_variables(block, self.private)
            own = sum(_size(v) for v in private)
            total = sum(_size(v) for v in block.weights)
            rows.append(Site(index, group, block.name, total - own, own))
        return rows

    def summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Prints which site uses which block, and where the parameters are.

        Args:
            print_fn: Function to call with each line. Defaults to `print`.
        """
        print_fn = print_fn or print
        rows = self.sharing()
        stored = sum(_size(v) for v in self.weights)
        unshared = sum(row.shared_params + row.private_params for row in rows)
        width = max(len("block"), *(len(row.layer) for row in rows))
        line = f"{{:>4}}  {{:<5}}  {{:<{width}}}  {{:>11}}  {{:>11}}"
        print_fn(f"{self.name}: pattern {self.pattern}")
        print_fn(line.format("site", "group", "block", "shared", "private"))
        for row in rows:
            first = row.index == self.pattern.groups[row.group][0]
            shared = f"{row.shared_params:,}" if first else '"'
            name = self.pattern.names[row.index]
            print_fn(
                line.format(
                    row.index, name, row.layer, shared, f"{row.private_params:,}"
                )
            )
        print_fn(f"{stored:,} parameters stored, {unshared:,} if nothing were shared")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "block": [keras.saving.serialize_keras_object(b) for b in self.blocks],
            "pattern": str(self.pattern),
            "private": private_spec.serialize(self.private),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SharedStack":
        config = dict(config)
        config["block"] = [
            keras.saving.deserialize_keras_object(b) for b in config["block"]
        ]
        config["private"] = private_spec.deserialize(config["private"])
        return cls(**config)


def _blocks(block: Any, pattern: SharingPattern) -> list[keras.Layer]:
    num_groups = pattern.num_groups
    if isinstance(block, keras.Layer):
        blocks = [
            _copy(block, f"{block.name}_{pattern.names[group[0]]}")
            for group in pattern.groups
        ]
    elif callable(block):
        blocks = [block() for _ in range(num_groups)]
    else:
        blocks = list(block) if isinstance(block, (list, tuple)) else [block]
    if not all(isinstance(b, keras.Layer) for b in blocks):
        raise ValueError(
            "`block` must be a Keras layer, a function that returns one, or a list "
            f"with one layer per group. Received: block={block!r}"
        )
    separate = len({id(b) for b in blocks})
    if len(blocks) != num_groups or separate != num_groups:
        raise ValueError(
            f"`block` must give one separate layer per group ({num_groups}); a "
            "function must return a new layer at each call. Received: "
            f"{separate} separate layers"
        )
    return blocks


def _copy(block: keras.Layer, name: str) -> keras.Layer:
    if isinstance(block, keras.Model) and hasattr(block, "layers"):
        # Not by config, which would give each `Tied` inside a layer of its own.
        copy = keras.models.clone_model(block, clone_function=TiedCloner())
        copy.name = name
        return copy
    config = block.get_config()
    if "name" in config:
        config["name"] = name
    return type(block).from_config(config)


def _size(variable: keras.Variable) -> int:
    return math.prod(variable.shape)
