"""`SharedStack`: a block applied at N sites by a sharing pattern."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_share.layers import private as private_spec
from keras_share.layers.components import components_by_weight
from keras_share.layers.loop import run_sites
from keras_share.layers.relax.relaxed import Relax, Relaxed
from keras_share.layers.sharing_table import SharingRow, sharing_rows, sharing_summary
from keras_share.layers.stack_sites import Block, make_sites, read_patterns
from keras_share.layers.sublayers import Untracked
from keras_share.layers.substitute import accepts_training, needs_several_inputs
from keras_share.layers.tied import block_of
from keras_share.pattern.sharing_pattern import PatternLike


@keras.saving.register_keras_serializable(package="keras_share")
class SharedStack(keras.Layer):
    """Applies a block at every site of a pattern, with one block per group.

    The first site of a group uses its block as it is; each further site is a
    `keras_share.Tied` use of it. The stack therefore holds `num_groups` times the
    block's shared weights and `num_sites` times its private ones, and with
    `num_groups == num_sites` it computes what a plain loop over separate layers does,
    bit for bit.

    Sharing all layers is ALBERT's way (arXiv 1909.11942); see `SharingPattern` for
    the patterns of the literature. ALBERT's other modes share parts of a layer:
    `{"attention": "shared"}` or `{"feedforward": "shared"}`. Sites that share can
    still differ by small weights of their own: see `Relaxed`.

    Args:
        block: What repeats: a layer, which is copied by its config (its weights, if
            any, are not); a function without arguments that returns a new layer; or a
            list with one layer per group, used as they are.
        pattern: Which sites share, as `SharingPattern.get` reads it: a pattern, labels
            such as `"AABB"`, or a family such as `"cycle:2"`. None shares nothing. A
            dict gives parts of the block patterns of their own, by the name of a
            sublayer or of what the block declares in `components`. Parts of parts may
            be named too; what is not named is not shared.
        private: What each site keeps for itself; see `Tied`.
        num_sites: Number of sites. Needed where `pattern` doesn't say, as in
            `"cycle:2"` or None.
        relax: What makes sites that share differ, as `Relaxed` takes it: a
            `Relaxation`, a layer such as `StepEmbedding`, a list of them, or a dict
            from the names of parts. A group of one site is left as it is.
        unroll: Whether each site is traced on its own. False runs the sites that
            repeat as a loop (`keras_share.layers.loop`), so that tracing and compiling
            take no longer for a deeper stack.
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
        block: Block,
        pattern: PatternLike | Mapping[str, PatternLike] = None,
        private: private_spec.Private = private_spec.NORMALIZATION,
        num_sites: int | None = None,
        relax: Relax = None,
        unroll: bool = True,
        **kwargs: Any,
    ):
        # The blocks cast their own inputs and variables.
        super().__init__(autocast=False, **kwargs)
        self.pattern, self.patterns = read_patterns(pattern, num_sites)
        self.private = private_spec.standardize(private)
        self.unroll = unroll
        # A layer in it is a model for those of the blocks, and never run.
        self._relax = Untracked(relax)
        self.blocks, self.sites = make_sites(
            block, self.pattern, self.patterns, self.private, relax
        )
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
                components_by_weight(layer, list(self.patterns))
        self.built = True

    def _build_site(self, site: int, layer: keras.Layer, shape: Any) -> Any:
        # By a symbolic call and not by `build`: a composite layer need not have one,
        # and the call also checks that the shape fits.
        block = block_of(layer)
        bare = block.inner_layer() if isinstance(block, Relaxed) else block
        if needs_several_inputs(bare):
            if not bare.built:
                raise ValueError(
                    f"Blocks with several inputs must be built before the stack is. "
                    f"Pass a list of blocks that were called, one per group. Received: "
                    f"block '{bare.name}', not built"
                )
            if not layer.built:
                layer.build(shape)
            return shape
        try:
            outputs = layer(keras.KerasTensor(shape, dtype=self.compute_dtype))
        except (ValueError, TypeError) as error:
            first = self.sites.index(block)
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
        if not self.unroll:
            return run_sites(self.sites, inputs, *args, training=training, **kwargs)
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

    def sharing(self) -> list[SharingRow]:
        """What each site uses of each part: groups and numbers of parameters.

        One row for each site and part; `pandas.DataFrame(stack.sharing())` is a table.

        Raises:
            ValueError: If the stack is not built.
        """
        return sharing_rows(self)

    def summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Prints which site uses which weights, and where the parameters are.

        Args:
            print_fn: Function to call with each line. Defaults to `print`.

        Raises:
            ValueError: If the stack is not built.
        """
        for line in sharing_summary(self):
            (print_fn or print)(line)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        relax = self._relax.value
        blocks = self.blocks
        if relax is not None:
            blocks = [b.inner_layer() if isinstance(b, Relaxed) else b for b in blocks]
        parts = {name: str(pattern) for name, pattern in self.patterns.items()}
        return {
            **super().get_config(),
            "block": [serialize(b) for b in blocks],
            "pattern": parts or str(self.pattern),
            "private": private_spec.serialize(self.private),
            "relax": serialize(relax),
            "unroll": self.unroll,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SharedStack":
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        config["block"] = [deserialize(b) for b in config["block"]]
        config["relax"] = deserialize(config.get("relax"))
        config["private"] = private_spec.deserialize(config["private"])
        return cls(**config)
