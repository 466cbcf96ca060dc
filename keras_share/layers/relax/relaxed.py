"""`Relaxed`: a layer whose kernels may differ from use to use."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras

from keras_share.layers.checks import options_around
from keras_share.layers.components import components_by_weight
from keras_share.layers.copying import copy_layer
from keras_share.layers.relax.kernel import Kernel, kernel_of
from keras_share.layers.relax.relaxation import Relaxation, Weight
from keras_share.layers.sublayers import Untracked, sublayers
from keras_share.layers.substitute import (
    accepts_training,
    as_called,
    build_by_call,
    call_with,
    is_built,
)
from keras_share.layers.variable_map import VariableMap

# What makes the uses of a layer differ, see `Relaxed`.
Relax: TypeAlias = (
    Relaxation
    | keras.Layer
    | Sequence["Relax"]
    | Mapping[str, Relaxation | Sequence[Relaxation]]
    | None
)


@dataclass(frozen=True, eq=False)
class RelaxedKernel:
    """A use of a kernel with relaxations.

    Attributes:
        kernel: The kernel.
        shared: The variable that this use has as the shared kernel.
        chain: The relaxations, in the order in which they apply.
        weights: The variables that this use has for each of them, by name.
    """

    kernel: Kernel
    shared: keras.Variable
    chain: tuple[Relaxation, ...]
    weights: tuple[dict[str, keras.Variable], ...]

    def replace(self, stand_ins: VariableMap[keras.Variable]) -> "RelaxedKernel":
        """The same with other variables in place of some."""
        weights = tuple(
            {name: stand_ins.of(v) for name, v in own.items()} for own in self.weights
        )
        shared = stand_ins.of(self.shared)
        return RelaxedKernel(self.kernel, shared, self.chain, weights)

    def value(self) -> Any:
        """The kernel as the layer uses it."""
        value = self.shared.value
        for relaxation, weights in zip(self.chain, self.weights, strict=True):
            values = {name: v.value for name, v in weights.items()}
            value = relaxation.kernel(value, values, self.kernel)
        return value


@keras.saving.register_keras_serializable(package="keras_share")
class Relaxed(keras.layers.Layer):
    """A layer with relaxations on its kernels: a block that is shared less strictly.

    Each further `keras_share.Tied` use shares the layer and has the weights that the
    relaxations add for itself, except those that they share (templates, a basis).
    `SharedStack(block, pattern, relax=...)` wraps its blocks in this.

    Args:
        layer: The layer. If it is not built yet, it is built when this one is.
        relax: A `Relaxation` for every kernel inside (of Dense, EinsumDense and
            ungrouped convolutions), a Keras layer to run on the input with weights
            private to each use (`StepEmbedding`), a list of them, or a dict from the
            names of parts of the layer to relaxations (the smallest part that holds a
            kernel counts).
        num_sites: Number of uses, for relaxations whose start depends on it.
        **kwargs: Base layer keyword arguments, such as `name`. `dtype` is not among
            them: it is that of `layer`'s variables.

    Call arguments:
        inputs: Tensor, the first argument of `layer`.
        *args, **kwargs: Further arguments of `layer`.

    Raises:
        ValueError: If `relax` is malformed, names a part that the layer lacks, or
            doesn't fit a kernel, or if a `dtype` is given.

    Example:
    >>> import keras, keras_share
    >>> dense = keras.layers.Dense(8)
    >>> first = keras_share.layers.Relaxed(dense, keras_share.LowRank(2))
    >>> second = keras_share.Tied(first)
    >>> model = keras.Sequential([keras.Input((8,)), first, second])
    >>> model.count_params()  # one Dense of 72, twice 8 x 2 and 2 x 8
    136
    """

    def __init__(
        self, layer: keras.Layer, relax: Relax, num_sites: int = 1, **kwargs: Any
    ):
        if isinstance(layer, keras.Layer):  # else an error follows
            self.call = as_called(self.call, layer)  # type: ignore[method-assign]
        super().__init__(**options_around(layer, **kwargs))
        entries = list(_entries(relax))
        self.before = [step for _, step in entries if isinstance(step, keras.Layer)]
        self.rules = tuple(e for e in entries if isinstance(e[1], Relaxation))
        self.num_sites = num_sites
        self.supports_masking = layer.supports_masking
        self._num_started = 1
        # A kernel that is not used must be neither trained nor saved: its layer is
        # then hidden from Keras, and its other weights are tracked one by one.
        self._inner = Untracked(layer)
        if not any(rule.replaces_kernel for _, rule in self.rules):
            self.layer = layer

    def inner_layer(self) -> keras.Layer:
        """The layer inside. An attribute would be saved, with unused kernels."""
        return self._inner.value

    def build(self, input_shape: Any) -> None:
        """Builds the layer and creates the weights of the relaxations."""
        layer = self.inner_layer()
        shape = input_shape
        for step in self.before:
            shape = build_by_call(step, shape, self.compute_dtype)
        if not is_built(layer):
            build_by_call(layer, shape, self.compute_dtype)
        self._relaxed = Untracked(list(self._relax(layer)))
        if not hasattr(self, "layer"):
            replaced = {
                id(r.kernel.variable)
                for r in self._relaxed.value
                if any(relaxation.replaces_kernel for relaxation in r.chain)
            }
            self._kept = [v for v in layer.weights if id(v) not in replaced]
            self._seeds = [
                item
                for part in sublayers(layer)
                for item in vars(part).values()
                if isinstance(item, keras.random.SeedGenerator)
            ]
        self.built = True

    def _relax(self, layer: keras.Layer) -> Iterator[RelaxedKernel]:
        kernels = [k for k in map(kernel_of, sublayers(layer)) if k is not None]
        names = [name for name, _ in self.rules if name is not None]
        parts = components_by_weight(layer, names)
        chosen: VariableMap[list[Relaxation]] = VariableMap()
        for name, relaxation in self.rules:
            found = [k for k in kernels if name in (None, parts.get(k.variable, ""))]
            if not found:
                part = f" part '{name}' of" if name else ""
                raise ValueError(
                    "`relax` acts on kernels of Dense, EinsumDense and ungrouped, "
                    f"channels-last convolution layers, and there are none in{part} "
                    f"the layer '{layer.name}'. Received: {relaxation}"
                )
            for kernel in found:
                chosen.setdefault(kernel.variable, []).append(relaxation)
        for kernel in kernels:
            chain = chosen.get(kernel.variable)
            if chain:
                weights = tuple(self._create(kernel, r) for r in chain)
                yield RelaxedKernel(kernel, kernel.variable, tuple(chain), weights)

    def _create(
        self, kernel: Kernel, relaxation: Relaxation
    ) -> dict[str, keras.Variable]:
        layer = self.inner_layer()
        path = kernel.variable.path.removeprefix(layer.path or layer.name)
        prefix = path.strip("/").replace("/", "_")
        return {
            name: self.add_weight(
                name=f"{prefix}_{name}",
                shape=tuple(weight.shape),
                initializer=weight.initializer,
                trainable=layer.trainable,
                dtype=kernel.variable.dtype,
                autocast=False,
            )
            for name, weight in relaxation.weights(kernel, 0, self.num_sites).items()
        }

    @property
    def relaxed_kernels(self) -> list[RelaxedKernel]:
        """The kernels that are relaxed, with their weights."""
        return self._relaxed.value

    def _weights(self, site: int) -> Iterator[tuple[keras.Variable, Weight]]:
        for relaxed in self.relaxed_kernels:
            for relaxation, own in zip(relaxed.chain, relaxed.weights, strict=True):
                specs = relaxation.weights(relaxed.kernel, site, self.num_sites)
                yield from ((own[name], spec) for name, spec in specs.items())

    @property
    def private_weights(self) -> list[keras.Variable]:
        """The weights that every use has for itself."""
        own = [v for v, spec in self._weights(0) if not spec.shared]
        return own + [v for layer in self.before for v in layer.weights]

    @property
    def shared_weights(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """Pairs of a kernel and a weight that its uses share beside it."""
        specs = VariableMap(self._weights(0))
        return [
            (relaxed.kernel.variable, v)
            for relaxed in self.relaxed_kernels
            for weights in relaxed.weights
            for v in weights.values()
            if specs[v].shared
        ]

    def start_site(self) -> VariableMap[keras.Initializer]:
        """For one more use: initializers of its own weights."""
        site, self._num_started = self._num_started, self._num_started + 1
        return VariableMap(
            (v, keras.initializers.get(spec.initializer))
            for v, spec in self._weights(site)
            if not spec.shared
        )

    def call(
        self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any
    ) -> Any:
        layer = self.inner_layer()
        x = inputs
        for step in self.before:
            x = step(x)
        if accepts_training(layer):
            kwargs["training"] = training
        stand_ins = [(r.kernel.variable, r.value()) for r in self.relaxed_kernels]
        outputs, losses = call_with(layer, stand_ins, x, *args, **kwargs)
        for loss in losses:
            self.add_loss(loss)
        return outputs

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return self.inner_layer().compute_mask(inputs, previous_mask)

    def compute_output_spec(
        self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any
    ) -> Any:
        x = inputs
        for step in self.before:
            x = step.compute_output_spec(x)
        return self.inner_layer().compute_output_spec(x, *args, **kwargs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        inputs = keras.KerasTensor(input_shape, dtype=self.compute_dtype)
        return self.compute_output_spec(inputs).shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("dtype", None)
        serialize = keras.saving.serialize_keras_object
        return {
            **config,
            "layer": serialize(self.inner_layer()),
            "relax": [
                *([None, serialize(layer)] for layer in self.before),
                *([component, serialize(rule)] for component, rule in self.rules),
            ],
            "num_sites": self.num_sites,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Relaxed":
        deserialize = keras.saving.deserialize_keras_object
        relax = [
            deserialize(item) if component is None else {component: deserialize(item)}
            for component, item in config["relax"]
        ]
        return cls(**{**config, "layer": deserialize(config["layer"]), "relax": relax})


def relax_layer(
    layer: keras.Layer, relax: Relax, num_sites: int, name: str | None = None
) -> Relaxed:
    """`layer` with relaxations; Keras layers in `relax` are copied for it."""
    relax = keras.tree.map_structure(
        lambda x: copy_layer(x) if isinstance(x, keras.Layer) else x, relax
    )
    return Relaxed(layer, relax, num_sites, name=name or f"{layer.name}_relaxed")


def _entries(relax: Relax, component: str | None = None) -> Iterator[tuple]:
    if isinstance(relax, Mapping) and component is None:
        for name, items in relax.items():
            yield from _entries(items, name)
    elif isinstance(relax, (list, tuple)):
        for item in relax:
            yield from _entries(item, component)
    elif isinstance(relax, Relaxation) or (
        isinstance(relax, keras.Layer) and component is None
    ):
        yield component, relax
    else:
        raise ValueError(
            "`relax` must be a Relaxation (such as keras_share.LowRank(8)), a Keras "
            "layer to run on the input (such as keras_share.StepEmbedding()), a list "
            "of them, or a dict from the name of a part to Relaxations. "
            f"Received: {relax!r}"
        )
